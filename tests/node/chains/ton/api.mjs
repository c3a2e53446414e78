// toncenter's API v3, as far as the plugin uses it.
import { Address, loadMessage } from "@ton/core";

import { Refusal } from "../http.mjs";
import { FIRST_SEQNO } from "./chain.mjs";
import { walletData } from "./jetton.mjs";
import { base64, boc, located, rawAddress, readBoc, SHARD } from "./shapes.mjs";

/** A request that toncenter refuses. */
class ApiError extends Refusal {}

const ROWS_MAX = 1000;
const ROWS = 10;
const OP_JETTON_TRANSFER = 0x0f8a7ea5;
/** What a get method of an account without code ends with. */
const NO_CONTRACT = -13;
const ZERO_HASH = base64(Buffer.alloc(32));

function whole(query, name) {
  const value = query.get(name);
  if (value === null) return undefined;
  if (!/^-?\d+$/.test(value)) throw new ApiError(422, `schema: error converting value for "${name}"`);
  return BigInt(value);
}

function addresses(query, name) {
  try {
    // Both forms of many addresses: repeated, and in one with commas.
    return query
      .getAll(name)
      .flatMap((one) => one.split(","))
      .map((one) => rawAddress(Address.parse(one)));
  } catch {
    throw new ApiError(422, `schema: error converting value for "${name}"`);
  }
}

/** Base64 in both alphabets, or hexadecimal. */
function hashes(query, name) {
  return query
    .getAll(name)
    .map((one) =>
      /^[0-9a-f]{64}$/i.test(one) ? base64(Buffer.from(one, "hex")) : base64(Buffer.from(one, "base64url")),
    );
}

function page(query, rows, key) {
  const limit = Number(whole(query, "limit") ?? ROWS);
  const offset = Number(whole(query, "offset") ?? 0);
  if (limit < 1 || limit > ROWS_MAX)
    throw new ApiError(422, `limit is not allowed: ${limit}. Maximum value: ${ROWS_MAX}`);
  const sort = query.get("sort") ?? "desc";
  if (sort !== "asc" && sort !== "desc") throw new ApiError(422, `wrong value for sort parameter: '${sort}'`);
  const sign = sort === "asc" ? 1 : -1;
  const sorted = rows.toSorted((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : 0));
  return sorted.slice(offset, offset + limit);
}

const within = (value, from, to) =>
  (from === undefined || value >= from) && (to === undefined || value <= to);

/** The API of an index; `lag()` says how far it is behind, `{blocks, transactions}`. */
export function api(chain, lag) {
  const book = (rows) =>
    Object.fromEntries(
      [...new Set(rows)]
        .filter(Boolean)
        .map((raw) => [
          raw,
          { user_friendly: Address.parse(raw).toString({ bounceable: false }), domain: null, interfaces: [] },
        ]),
    );

  /** A masterchain block, or the only shard's block that it commits. */
  function block(of, workchain) {
    const master = workchain === -1;
    const seqno = master ? of.seqno : of.shardSeqno;
    const index = of.seqno - FIRST_SEQNO;
    return {
      workchain,
      shard: SHARD,
      seqno,
      root_hash: master ? of.rootHash : base64(Buffer.from(of.rootHash, "base64").reverse()),
      file_hash: master ? of.fileHash : base64(Buffer.from(of.fileHash, "base64").reverse()),
      global_id: chain.globalId,
      version: 0,
      after_merge: false,
      before_split: false,
      after_split: false,
      want_merge: true,
      want_split: false,
      key_block: false,
      vert_seqno_incr: false,
      flags: 1,
      gen_utime: String(of.gen_utime),
      start_lt: String(of.start_lt),
      end_lt: String(of.end_lt),
      validator_list_hash_short: 0,
      gen_catchain_seqno: 1,
      min_ref_mc_seqno: FIRST_SEQNO,
      prev_key_block_seqno: FIRST_SEQNO,
      vert_seqno: 1,
      master_ref_seqno: master ? 0 : of.seqno - 1,
      rand_seed: ZERO_HASH,
      created_by: ZERO_HASH,
      tx_count: master ? 0 : of.count,
      masterchain_block_ref: { workchain: -1, shard: SHARD, seqno: of.seqno },
      prev_blocks: index > 0 ? [{ workchain, shard: SHARD, seqno: seqno - 1 }] : [],
    };
  }

  function blocks(query) {
    const [workchain, seqno, mc] = ["workchain", "seqno", "mc_seqno"].map((name) => whole(query, name));
    const rows = chain.blocks
      .filter((one) => one.seqno <= chain.indexed(lag()).seqno)
      .flatMap((one) => [block(one, -1), block(one, 0)])
      .filter(
        (one) =>
          (workchain === undefined || BigInt(one.workchain) === workchain) &&
          (seqno === undefined || BigInt(one.seqno) === seqno) &&
          (mc === undefined || BigInt(one.masterchain_block_ref.seqno) === mc) &&
          (query.get("shard") ?? SHARD).toUpperCase() === SHARD &&
          (query.get("root_hash") ?? one.root_hash) === one.root_hash &&
          within(BigInt(one.start_lt), whole(query, "start_lt"), undefined) &&
          within(BigInt(one.end_lt), undefined, whole(query, "end_lt")) &&
          within(BigInt(one.gen_utime), whole(query, "start_utime"), whole(query, "end_utime")),
      );
    return { blocks: page(query, rows, (one) => one.seqno) };
  }

  const visible = () => chain.visible(lag());

  function transactions(query) {
    const accounts = addresses(query, "account");
    const wanted = hashes(query, "hash");
    const [lt, mc] = [whole(query, "lt"), whole(query, "mc_seqno")];
    const rows = visible().filter(
      (one) =>
        (accounts.length === 0 || accounts.includes(one.account)) &&
        (wanted.length === 0 || wanted.includes(one.told.hash)) &&
        (lt === undefined || one.lt === lt) &&
        (mc === undefined || BigInt(one.block.seqno) === mc) &&
        within(one.lt, whole(query, "start_lt"), whole(query, "end_lt")) &&
        within(BigInt(one.told.now), whole(query, "start_utime"), whole(query, "end_utime")),
    );
    const found = page(query, rows, (one) => one.lt).map(located);
    return {
      transactions: found,
      address_book: book(found.flatMap((one) => [one.account, one.in_msg?.source])),
    };
  }

  /** What one message from outside set off, by any of its transactions or messages. */
  function traces(query) {
    const [ids, txs, messages] = ["trace_id", "tx_hash", "msg_hash"].map((name) => hashes(query, name));
    const named = ({ told }) =>
      (ids.length === 0 || ids.includes(told.trace_id)) &&
      (txs.length === 0 || txs.includes(told.hash)) &&
      (messages.length === 0 ||
        [told.in_msg, ...told.out_msgs].some((one) => one && messages.includes(one.hash)));
    const rows = visible();
    const found = [...new Set(rows.filter(named).map(({ told }) => told.trace_id))].map((id) => {
      const own = rows.filter(({ told }) => told.trace_id === id);
      const seqnos = own.map(({ block: { seqno } }) => seqno);
      return {
        trace_id: id,
        external_hash: own[0].told.in_msg?.hash ?? null,
        mc_seqno_start: String(Math.min(...seqnos)),
        mc_seqno_end: String(Math.max(...seqnos)),
        start_lt: own[0].told.lt,
        start_utime: own[0].told.now,
        end_lt: own.at(-1).told.lt,
        end_utime: own.at(-1).told.now,
        is_incomplete: false,
        transactions_order: own.map(({ told }) => told.hash),
        transactions: Object.fromEntries(own.map((one) => [one.told.hash, located(one)])),
      };
    });
    return { traces: page(query, found, (one) => BigInt(one.start_lt)), address_book: {}, metadata: {} };
  }

  function byMasterchainBlock(query) {
    const seqno = whole(query, "seqno");
    if (seqno === undefined) throw new ApiError(422, "seqno is required");
    const rows = visible().filter((one) => BigInt(one.block.seqno) === seqno);
    const found = page(query, rows, (one) => one.lt).map(located);
    return { transactions: found, address_book: book(found.map((one) => one.account)) };
  }

  function accountStates(query) {
    const wanted = addresses(query, "address");
    if (wanted.length === 0) throw new ApiError(422, "address or code_hash is required");
    const accounts = [];
    for (const address of new Set(wanted)) {
      const last = visible().findLast((one) => one.account === address);
      if (!last) continue;
      const { hash, balance, extra_currencies, account_status, data_hash, code_hash } =
        last.told.account_state_after;
      accounts.push({
        address,
        account_state_hash: hash,
        balance,
        extra_currencies,
        status: account_status,
        last_transaction_hash: last.told.hash,
        last_transaction_lt: last.told.lt,
        ...(data_hash && { data_hash }),
        ...(code_hash && { code_hash }),
        contract_methods: null,
        interfaces: [],
      });
    }
    return { accounts, address_book: book(wanted), metadata: {} };
  }

  /** Jetton wallets by address, as they stood after the last transaction that the index knows. */
  function wallets() {
    const found = new Map();
    for (const one of visible()) {
      const data = walletData(one);
      const { code_hash, data_hash } = one.told.account_state_after;
      if (data) found.set(data.address, { ...data, last_transaction_lt: one.told.lt, code_hash, data_hash });
    }
    return found;
  }

  function jettonWallets(query) {
    const [own, owners, masters] = ["address", "owner_address", "jetton_address"].map((name) =>
      addresses(query, name),
    );
    const rows = [...wallets().values()].filter(
      (one) =>
        (own.length === 0 || own.includes(one.address)) &&
        (owners.length === 0 || owners.includes(one.owner)) &&
        (masters.length === 0 || masters.includes(one.jetton)),
    );
    const found = page(query, rows, (one) => one.address);
    return {
      jetton_wallets: found,
      address_book: book(found.flatMap((one) => [one.address, one.owner, one.jetton])),
      metadata: {},
    };
  }

  /** What the sender's jetton wallet was told to send: no proof that it arrived. */
  function jettonTransfers(query) {
    const [owners, masters] = ["owner_address", "jetton_master"].map((name) => addresses(query, name));
    const direction = query.get("direction");
    const known = wallets();
    const rows = visible().flatMap((one) => {
      const wallet = known.get(one.account);
      const row = wallet && transfer(one, wallet);
      if (!row) return [];
      const mine =
        owners.length === 0 ||
        (direction !== "in" && owners.includes(row.source)) ||
        (direction !== "out" && owners.includes(row.destination));
      const ours = masters.length === 0 || masters.includes(row.jetton_master);
      const inTime =
        within(one.lt, whole(query, "start_lt"), whole(query, "end_lt")) &&
        within(BigInt(one.told.now), whole(query, "start_utime"), whole(query, "end_utime"));
      return mine && ours && inTime ? [row] : [];
    });
    const found = page(query, rows, (one) => BigInt(one.transaction_lt));
    return {
      jetton_transfers: found,
      address_book: book(found.flatMap((one) => [one.source, one.destination])),
      metadata: {},
    };
  }

  function transfer({ told, raw }, wallet) {
    const body = raw.inMessage.body.beginParse();
    if (body.remainingBits < 32 || body.loadUint(32) !== OP_JETTON_TRANSFER) return undefined;
    try {
      const query_id = String(body.loadUintBig(64));
      const amount = String(body.loadCoins());
      const destination = rawAddress(body.loadAddress());
      const response_destination = rawAddress(body.loadMaybeAddress());
      const custom = body.loadMaybeRef();
      const forward_ton_amount = String(body.loadCoins());
      // The server reads Maybe where the standard says Either: a payload that lies inline is lost.
      const payload = body.loadMaybeRef();
      return {
        query_id,
        source: rawAddress(raw.inMessage.info.src),
        destination,
        amount,
        source_wallet: told.account,
        jetton_master: wallet.jetton,
        transaction_hash: told.hash,
        transaction_lt: told.lt,
        transaction_now: told.now,
        transaction_aborted: told.description.aborted,
        response_destination,
        custom_payload: custom && boc(custom),
        decoded_custom_payload: null,
        forward_ton_amount,
        forward_payload: payload && boc(payload),
        decoded_forward_payload: null,
        trace_id: told.trace_id,
      };
    } catch {
      return undefined;
    }
  }

  async function runGetMethod({ address, method, stack = [] }) {
    const items = stack.map(({ type, value }) => {
      if (type === "num")
        return { type: "int", value: value.startsWith("-") ? -BigInt(value.slice(1)) : BigInt(value) };
      if (type === "cell" || type === "slice") return { type, cell: readBoc(value) };
      throw new ApiError(500, `unsupported stack parameter type: ${type}`);
    });
    let result;
    const account = Address.parse(address);
    if (!(await chain.isActive(account))) return { gas_used: 0, exit_code: NO_CONTRACT, stack: [] };
    try {
      result = await chain.get(account, method, items);
    } catch (error) {
      if (error.exitCode === undefined) throw new ApiError(500, error.message);
      return { gas_used: Number(error.gasUsed ?? 0), exit_code: error.exitCode, stack: [] };
    }
    return { gas_used: Number(result.gasUsed), exit_code: result.exitCode, stack: result.stack.map(tell) };
  }

  const hexNumber = (value) => (value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`);
  // The server tells slices as cells.
  function tell(item) {
    if (item.type === "int") return { type: "num", value: hexNumber(item.value) };
    if (item.cell) return { type: "cell", value: boc(item.cell) };
    if (item.type === "null") return { type: "list", value: [] };
    return { type: item.type, value: (item.items ?? []).map(tell) };
  }

  /** Takes a signed message from outside. It happens at once; a control call puts it in a block. */
  async function message({ boc: text }) {
    let cell;
    try {
      cell = readBoc(text);
      loadMessage(cell.beginParse());
    } catch {
      throw new ApiError(422, "boc is no message");
    }
    await chain.accept(cell).catch((error) => {
      throw new ApiError(
        500,
        `LITE_SERVER_UNKNOWN: cannot apply external message to current state : exitcode=${error.exitCode}`,
      );
    });
    return { message_hash: base64(cell.hash()), message_hash_norm: base64(cell.hash()) };
  }

  const paths = {
    "/masterchainInfo": () => ({ last: block(chain.indexed(lag()), -1), first: block(chain.blocks[0], -1) }),
    "/blocks": blocks,
    "/transactions": transactions,
    "/traces": traces,
    "/transactionsByMasterchainBlock": byMasterchainBlock,
    "/accountStates": accountStates,
    "/jetton/wallets": jettonWallets,
    "/jetton/transfers": jettonTransfers,
  };

  /** The answer to a path, or nothing if it is not served. */
  return async (path, query, body, method) => {
    const name = path.replace(/^(\/api)?\/v3/, "");
    if (name === "/runGetMethod" && method === "POST") return runGetMethod(body);
    if (name === "/message" && method === "POST") return message(body);
    return method === "GET" && Object.hasOwn(paths, name) ? paths[name](query) : undefined;
  };
}
