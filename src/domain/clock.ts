/** The time, injected so that tests own it. */
export type Clock = () => Date;

export const systemClock: Clock = () => new Date();

/** Unix time in whole seconds, rounded down. */
export const unixSeconds = (time: Date): number => Math.floor(time.getTime() / 1000);
