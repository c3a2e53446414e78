// The host's services as the component's bindings give them. Under Node.js, testing.js stands here instead.
export { default as clock } from "kassa:plugin/clock@0.1.0";
export { default as http } from "kassa:plugin/http@0.1.0";
export { default as log } from "kassa:plugin/log@0.1.0";
export { default as random } from "kassa:plugin/random@0.1.0";
export { default as secrets } from "kassa:plugin/secrets@0.1.0";
export { default as storage } from "kassa:plugin/storage@0.1.0";
export { default as webhooks } from "kassa:plugin/webhooks@0.1.0";
