/**
 * Where the sun stands, by the solar equations that NOAA publishes (equation of time and declination): another way to
 * it than those of adhan and of sun-position.ts.
 */
const radians = Math.PI / 180;
const sin = (degrees: number) => Math.sin(degrees * radians);
const cos = (degrees: number) => Math.cos(degrees * radians);

function sunAt(instantMs: number) {
  const t = (instantMs / 86_400_000 + 2_440_587.5 - 2_451_545) / 36_525;
  const mean = 280.46646 + t * (36_000.76983 + 0.0003032 * t);
  const anomaly = 357.52911 + t * (35_999.05029 - 0.0001537 * t);
  const eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t);
  const node = 125.04 - 1_934.136 * t;
  const centre =
    sin(anomaly) * (1.914602 - t * (0.004817 + 0.000014 * t)) +
    sin(2 * anomaly) * (0.019993 - 0.000101 * t) +
    sin(3 * anomaly) * 0.000289;
  const apparent = mean + centre - 0.00569 - 0.00478 * sin(node);
  const obliquity = 23.4392911 - 0.0130042 * t + 0.00256 * cos(node);
  const y = Math.tan((obliquity / 2) * radians) ** 2;
  const equationRadians =
    y * sin(2 * mean) -
    2 * eccentricity * sin(anomaly) +
    4 * eccentricity * y * sin(anomaly) * cos(2 * mean) -
    0.5 * y * y * sin(4 * mean) -
    1.25 * eccentricity * eccentricity * sin(2 * anomaly);
  return {
    declination: Math.asin(sin(obliquity) * sin(apparent)) / radians,
    equationDegrees: equationRadians / radians,
  };
}

/** Degrees that the sun stands west of the meridian, -180 to 180: 0 at solar noon; 1 degree is 4 minutes. */
export function hourAngleDegrees(instantMs: number, longitude: number): number {
  const angle = (instantMs / 86_400_000 - 0.5) * 360 + sunAt(instantMs).equationDegrees + longitude;
  return angle - 360 * Math.round(angle / 360);
}

/** Degrees above the horizon, without refraction. */
export function altitudeDegrees(instantMs: number, latitude: number, longitude: number): number {
  const { declination } = sunAt(instantMs);
  const hourAngle = hourAngleDegrees(instantMs, longitude);
  return Math.asin(sin(latitude) * sin(declination) + cos(latitude) * cos(declination) * cos(hourAngle)) / radians;
}
