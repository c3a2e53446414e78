// How toncenter v3 writes accounts, messages and transactions: numbers beyond 2^32 as strings, hashes in base64,
// addresses raw in upper case, absent things as null.
import { beginCell, Cell, Dictionary, loadMessage, storeStateInit } from "@ton/core";

export const SHARD = "8000000000000000";
const STATUS = { "non-existing": "nonexist", uninitialized: "uninit", active: "active", frozen: "frozen" };
const BOUNCE = { ok: "ok", "no-funds": "nofunds", "negative-funds": "negfunds" };
const OPCODES = {
  "0x00000000": "text_comment",
  "0x0f8a7ea5": "jetton_transfer",
  "0x178d4519": "jetton_internal_transfer",
  "0x7362d09c": "jetton_notify",
  "0xd53276db": "excess",
};

export const rawAddress = (address) => (address ? address.toRawString().toUpperCase() : null);
export const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const hash256 = (number) => base64(Buffer.from(number.toString(16).padStart(64, "0"), "hex"));
const text = (number) => (number === undefined || number === null ? null : String(number));
export const boc = (cell) => cell.toBoc({ idx: false, crc32: true }).toString("base64");

/** Leaves out what is not there, as the server does inside a description. */
const given = (object) =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== null));

export function tellState(shardAccount) {
  const account = shardAccount.account;
  const state = account?.storage.state;
  const init = state?.type === "active" ? state.state : undefined;
  return {
    hash: null,
    balance: account ? String(account.storage.balance.coins) : null,
    extra_currencies: {},
    account_status: account ? STATUS[state.type === "uninit" ? "uninitialized" : state.type] : "nonexist",
    frozen_hash: state?.type === "frozen" ? hash256(state.stateHash) : null,
    data_hash: init?.data ? base64(init.data.hash()) : null,
    code_hash: init?.code ? base64(init.code.hash()) : null,
  };
}

function opcodeOf(body) {
  const slice = body.beginParse();
  return slice.remainingBits < 32 ? null : `0x${slice.loadUint(32).toString(16).padStart(8, "0")}`;
}

/** Only comments are decoded here; the real server knows many more messages. */
function decode(body, opcode) {
  if (opcode !== "0x00000000") return null;
  try {
    const slice = body.beginParse();
    slice.loadUint(32);
    return { "@type": "text_comment", comment: slice.loadStringTail(), type: "text_comment" };
  } catch {
    return null;
  }
}

/** A message with the state that it brings along in a cell. */
export function readMessage(cell) {
  const { info, init, body } = loadMessage(cell.beginParse());
  return { info, body, init: init && beginCell().store(storeStateInit(init)).endCell() };
}

function tellMessage(cell) {
  const { info, init: initCell, body } = readMessage(cell);
  const opcode = opcodeOf(body);
  const internal = info.type === "internal";
  return {
    hash: base64(cell.hash()),
    source: info.type === "external-in" ? null : rawAddress(info.src),
    destination: info.type === "external-out" ? null : rawAddress(info.dest),
    value: internal ? String(info.value.coins) : null,
    value_extra_currencies: internal ? {} : null,
    fwd_fee: internal ? String(info.forwardFee) : null,
    ihr_fee: internal ? String(info.ihrFee) : null,
    extra_flags: internal ? "0" : null,
    created_lt: text(info.createdLt),
    created_at: text(info.createdAt),
    opcode,
    decoded_opcode: OPCODES[opcode] ?? null,
    ihr_disabled: internal ? info.ihrDisabled : null,
    bounce: internal ? info.bounce : null,
    bounced: internal ? info.bounced : null,
    import_fee: info.type === "external-in" ? String(info.importFee) : null,
    message_content: { hash: base64(body.hash()), body: boc(body), decoded: decode(body, opcode) },
    init_state: initCell ? { hash: base64(initCell.hash()), body: boc(initCell), decoded: null } : null,
  };
}

function tellCompute(phase) {
  if (phase.type === "skipped") return { skipped: true, reason: phase.reason.replace("-", "_") };
  return given({
    skipped: false,
    success: phase.success,
    msg_state_used: phase.messageStateUsed,
    account_activated: phase.accountActivated,
    gas_fees: text(phase.gasFees),
    gas_used: text(phase.gasUsed),
    gas_limit: text(phase.gasLimit),
    gas_credit: text(phase.gasCredit),
    mode: phase.mode,
    exit_code: phase.exitCode,
    exit_arg: phase.exitArg,
    vm_steps: phase.vmSteps,
    vm_init_state_hash: hash256(phase.vmInitStateHash),
    vm_final_state_hash: hash256(phase.vmFinalStateHash),
  });
}

const size = ({ cells, bits }) => ({ cells: String(cells), bits: String(bits) });

function tellAction(phase) {
  return given({
    success: phase.success,
    valid: phase.valid,
    no_funds: phase.noFunds,
    status_change: phase.statusChange,
    total_fwd_fees: text(phase.totalFwdFees),
    total_action_fees: text(phase.totalActionFees),
    result_code: phase.resultCode,
    result_arg: phase.resultArg,
    tot_actions: phase.totalActions,
    spec_actions: phase.specActions,
    skipped_actions: phase.skippedActions,
    msgs_created: phase.messagesCreated,
    action_list_hash: hash256(phase.actionListHash),
    tot_msg_size: size(phase.totalMessageSize),
  });
}

function tellBounce(phase) {
  const type = BOUNCE[phase.type];
  if (type === "negfunds") return { type };
  const msg_size = size(phase.messageSize);
  if (type === "nofunds") return { type, msg_size, req_fwd_fees: String(phase.requiredForwardFees) };
  return { type, msg_size, msg_fees: String(phase.messageFees), fwd_fees: String(phase.forwardFees) };
}

function tellDescription(description) {
  if (description.type !== "generic") throw new Error(`a ${description.type} transaction`);
  const { storagePhase, creditPhase, computePhase, actionPhase, bouncePhase } = description;
  return given({
    type: "ord",
    aborted: description.aborted,
    destroyed: description.destroyed,
    credit_first: description.creditFirst,
    storage_ph:
      storagePhase &&
      given({
        storage_fees_collected: text(storagePhase.storageFeesCollected),
        storage_fees_due: text(storagePhase.storageFeesDue),
        status_change: storagePhase.statusChange,
      }),
    credit_ph:
      creditPhase &&
      given({
        due_fees_collected: text(creditPhase.dueFeesColelcted),
        credit: text(creditPhase.credit.coins),
      }),
    compute_ph: tellCompute(computePhase),
    action: actionPhase && tellAction(actionPhase),
    bounce: bouncePhase && tellBounce(bouncePhase),
  });
}

/** The messages' own cells: one that is read and written again may be another. */
export function messageCells(transaction) {
  const slice = transaction.raw.refs[0].beginParse();
  const inbound = slice.loadMaybeRef();
  const outbound = slice.loadDict(Dictionary.Keys.Uint(15), Dictionary.Values.Cell());
  return {
    inbound,
    outbound: outbound
      .keys()
      .sort((a, b) => a - b)
      .map((key) => outbound.get(key)),
  };
}

/** A transaction without the block that it will be in. */
export function tellTransaction(transaction, address, before, after) {
  const { inbound, outbound } = messageCells(transaction);
  let root = transaction;
  while (root.parent) root = root.parent;
  const nothing = {
    hash: null,
    balance: null,
    extra_currencies: {},
    account_status: "nonexist",
    frozen_hash: null,
    data_hash: null,
    code_hash: null,
  };
  return {
    account: rawAddress(address),
    hash: base64(transaction.hash()),
    lt: String(transaction.lt),
    now: transaction.now,
    mc_block_seqno: null,
    trace_id: base64(root.hash()),
    prev_trans_hash: hash256(transaction.prevTransactionHash),
    prev_trans_lt: String(transaction.prevTransactionLt),
    orig_status: STATUS[transaction.oldStatus],
    end_status: STATUS[transaction.endStatus],
    total_fees: String(transaction.totalFees.coins),
    total_fees_extra_currencies: {},
    description: tellDescription(transaction.description),
    block_ref: null,
    in_msg: inbound && tellMessage(inbound),
    out_msgs: outbound.map(tellMessage),
    account_state_before: { ...(before ?? nothing), hash: base64(transaction.stateUpdate.oldHash) },
    account_state_after: { ...after, hash: base64(transaction.stateUpdate.newHash) },
    emulated: false,
    finality: "finalized",
  };
}

/** The same when it is in a block. */
export const located = ({ told, block }) => ({
  ...told,
  mc_block_seqno: block.seqno,
  block_ref: { workchain: 0, shard: SHARD, seqno: block.shardSeqno },
});

export const readBoc = (value) => Cell.fromBoc(Buffer.from(value, "base64"))[0];
