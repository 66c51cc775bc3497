import { z } from "zod";

// Forms that variables of several features have. No message, here or there, may quote the value: any of them may be a
// secret, be it one put into the wrong variable.

const SECRET_MIN_BYTES = 16;

export const secret = z
  .string()
  .refine(
    (text) => Buffer.byteLength(text, "utf8") >= SECRET_MIN_BYTES,
    `must have at least ${SECRET_MIN_BYTES} bytes`,
  );

/** Items with commas between them; blanks around an item don't count. */
export const list = z.string().transform((text) => text.split(",").map((item) => item.trim()));

export function wholeNumber(min: number, max: number) {
  return z
    .string()
    .refine(
      (text) => /^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max,
      `must be a whole number from ${min} to ${max}`,
    )
    .transform(Number);
}
