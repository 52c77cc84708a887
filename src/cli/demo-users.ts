import type { PlaceOfTheWorld } from "./places-of-the-world.ts";

export interface DemoUser {
  readonly userId: string;
  readonly place: PlaceOfTheWorld;
}

/**
 * Spreads users over places by their population: the n-th user lives where the n-th part of the world's (known) city
 * dwellers ends. Every run generates the same users.
 */
export function demoUsers(count: number, places: readonly PlaceOfTheWorld[]): DemoUser[] {
  const total = places.reduce((sum, place) => sum + place.population, 0);
  const users: DemoUser[] = [];
  let dwellers = 0;
  for (const place of places) {
    dwellers += place.population;
    const through = Math.round((dwellers / total) * count);
    while (users.length < through) {
      users.push({ userId: `user-${String(users.length + 1).padStart(7, "0")}`, place });
    }
  }
  return users;
}
