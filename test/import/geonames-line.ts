/** A line of a dump, with what matters here. */
export function geonamesLine(
  over: Partial<
    Record<"id" | "name" | "latitude" | "longitude" | "class" | "code" | "country" | "population" | "zone", string>
  >,
): string {
  const { id = "2950159", name = "Berlin", latitude = "52.52437", longitude = "13.41053" } = over;
  const {
    class: featureClass = "P",
    code = "PPLC",
    country = "DE",
    population = "3426354",
    zone = "Europe/Berlin",
  } = over;
  const before = [
    id,
    name,
    name,
    'BER,Berlin,"Berlín',
    latitude,
    longitude,
    featureClass,
    code,
    country,
    "",
    "16",
    "00",
  ];
  return [...before, "11000", "11000000", population, "74", "43", zone, "2025-05-23"].join("\t");
}
