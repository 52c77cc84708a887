import { z } from "zod";
import { latitude, longitude, text, zoneText } from "./contract.ts";

export const newPlace = z.strictObject({
  /** "nearest" is the address of another question */
  key: text(1, 200).refine((key) => key !== "nearest", 'The key must not be "nearest"'),
  name: text(1, 200),
  /** ISO 3166-1 alpha-2 */
  country: z
    .string()
    .regex(/^[A-Z]{2}$/, "Must be two capital letters")
    .nullable()
    .optional(),
  latitude,
  longitude,
  /** left out: suggested from the coordinates */
  zone: zoneText.optional(),
  population: z.number().int().min(0).max(100_000_000_000).optional(),
  timetable: text(1, 100).optional(),
});

/** Coordinates in a query are text. */
export const nearestQuery = z.strictObject({
  latitude: degrees().pipe(latitude),
  longitude: degrees().pipe(longitude),
});

function degrees() {
  return z
    .string()
    .regex(/^-?\d{1,3}(?:\.\d{1,20})?$/, "Must be decimal degrees")
    .transform(Number);
}
