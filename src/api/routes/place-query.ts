import type { PlaceQuery } from "../../store/place-times.ts";

export interface GivenPlace {
  /** a place's key */
  readonly place?: string | undefined;
  readonly placeId?: number | undefined;
  readonly coordinates?: { readonly latitude: number; readonly longitude: number } | undefined;
}

/** How a request says where; undefined: it doesn't. */
export function placeQueryOf({ place, placeId, coordinates }: GivenPlace): PlaceQuery | undefined {
  if (place !== undefined) return { key: place };
  if (placeId !== undefined) return { placeId };
  return coordinates;
}
