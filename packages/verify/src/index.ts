export { type IsRevoked, type IsSigned, type PollingOptions, pollRevocations } from "./revocations.js";
export {
  createVerifier,
  type Ed25519PublicKey,
  type Refusal,
  type Verdict,
  type Verifier,
  type VerifierOptions,
} from "./verifier.js";
