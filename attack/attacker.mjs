// A process of an attacker's own, so that its work is not the server's. It keeps what it has opened until it is killed.
const [module = "", name = ""] = process.argv.slice(2);

/**
 * @typedef {object} Attacker
 * @property {unknown} outcome
 * @property {() => unknown} [watch] Tells how it stands, whenever it is asked.
 */

/** @type {Attacker | undefined} */
let attacker;

process.on("message", async (/** @type {any} */ message) => {
  try {
    if (message === "watch") {
      process.send?.({ watched: attacker?.watch?.() });
      return;
    }
    const { attackers } = await import(module);
    /** @type {Attacker} */
    const started = await attackers[name](message.options);
    attacker = started;
    process.send?.({ outcome: started.outcome });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.send?.({ ready: true });
