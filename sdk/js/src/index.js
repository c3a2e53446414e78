export { clock, log, secrets, ServiceError, storage, webhooks } from "./basics.js";
export { http, secret } from "./http.js";
export {
  done, noPrice, pass, pay, reject, retry, review, split, unknownPair,
} from "./outcomes.js";
