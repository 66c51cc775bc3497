const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const CANONICAL_UUID = new RegExp(UUID, "");

/** Whether `text` is a UUID in the form of RFC 9562, in any letter case and of any version. */
export const isUuid = (text: string): boolean => UUID.test(text);

/** Whether `text` is a UUID in the form in which ids are stored. */
export const isCanonicalUuid = (text: string): boolean => CANONICAL_UUID.test(text);

/** The one form in which ids are stored, compared and returned. */
export const canonicalUuid = (uuid: string): string => uuid.toLowerCase();
