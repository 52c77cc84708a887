/**
 * Where the sun stands, by the low-precision formulas of the Astronomical Almanac (section C, good to about 0.02
 * degrees between 1950 and 2050): enough to tell whether a computed sunrise is one.
 */
const radians = Math.PI / 180;
const dayMs = 86_400_000;
const unixEpochJulianDay = 2_440_587.5;
const j2000JulianDay = 2_451_545;

/** Where the sun's centre is at sunrise and sunset: half its disc and the refraction below the horizon. */
export const horizonDegrees = -50 / 60;

/**
 * Degrees of the sun's centre above the horizon, without refraction; negative below.
 *
 * @param instantMs epoch milliseconds
 * @param latitude degrees, north positive
 * @param longitude degrees, east positive
 */
export function sunAltitudeDegrees(instantMs: number, latitude: number, longitude: number): number {
  const days = instantMs / dayMs + unixEpochJulianDay - j2000JulianDay;
  const anomaly = (357.528 + 0.9856003 * days) * radians;
  const meanLongitude = 280.46 + 0.9856474 * days;
  const ecliptic = (meanLongitude + 1.915 * Math.sin(anomaly) + 0.02 * Math.sin(2 * anomaly)) * radians;
  const obliquity = (23.439 - 0.0000004 * days) * radians;
  const rightAscension = Math.atan2(Math.cos(obliquity) * Math.sin(ecliptic), Math.cos(ecliptic));
  const declination = Math.asin(Math.sin(obliquity) * Math.sin(ecliptic));
  const hourAngle = (280.46062 + 360.98564737 * days + longitude) * radians - rightAscension;
  const north = latitude * radians;
  return (
    Math.asin(Math.sin(north) * Math.sin(declination) + Math.cos(north) * Math.cos(declination) * Math.cos(hourAngle)) /
    radians
  );
}

/**
 * Why the sun does not pass an altitude in the half of a day between its lowest and its highest point: it stays below
 * or it stays above, whichever is nearer to be true.
 *
 * @param degrees of the sun's centre, without refraction
 * @param noonMs the sun's highest point, epoch milliseconds
 * @param midnightMs its lowest, before or after
 * @param latitude degrees, north positive
 * @param longitude degrees, east positive
 */
export function whyNotPassed(
  degrees: number,
  noonMs: number,
  midnightMs: number,
  latitude: number,
  longitude: number,
): "polar_day" | "polar_night" | "twilight_all_night" | "sun_stays_low" {
  const highest = sunAltitudeDegrees(noonMs, latitude, longitude);
  const lowest = sunAltitudeDegrees(midnightMs, latitude, longitude);
  const staysBelow = degrees - highest > lowest - degrees;
  if (staysBelow) return degrees > horizonDegrees && highest > horizonDegrees ? "sun_stays_low" : "polar_night";
  return degrees < horizonDegrees && lowest < horizonDegrees ? "twilight_all_night" : "polar_day";
}
