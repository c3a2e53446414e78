export { clock, log, random, secrets, ServiceError, storage, webhooks } from "./basics.js";
export { http, literal, secret } from "./http.js";
export {
  done, malformed, noPrice, pass, pay, reject, retry, review, split, unknownPair, unsupported,
} from "./outcomes.js";
