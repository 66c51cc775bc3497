/** A part of what there is, which its holder gives back. */
export interface Reserve {
  /** @returns Whether there was so much left for such a caller: then it is taken. */
  take(amount: number, isStranger: boolean): boolean;
  give(amount: number): void;
}

export interface ReserveOptions {
  readonly total: number;
  /** What callers without a credential may take of it: the rest is kept for those who have one. */
  readonly forStrangers: number;
}

/** Something that the whole process has so much of. */
export function createReserve({ total, forStrangers }: ReserveOptions): Reserve {
  let taken = 0;
  return {
    take(amount, isStranger) {
      if (taken + amount > (isStranger ? forStrangers : total)) return false;
      taken += amount;
      return true;
    },
    give(amount) {
      taken -= amount;
    },
  };
}
