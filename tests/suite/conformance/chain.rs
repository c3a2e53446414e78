//! The local chain of a plugin, in words that fit any chain.

use kassa_tests::{Api, Facade, text};
use serde_json::{Value, json};

/// What a payment is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pay<'a> {
    pub(super) to: &'a str,
    /// None: the native coin.
    pub(super) asset: Option<&'a str>,
    pub(super) units: u128,
    pub(super) memo: Option<&'a str>,
    /// So many equal movements: of a token in one transaction, of the coin in one block, since some chains do not
    /// show all that moves coins inside of a transaction.
    pub(super) times: u32,
}

impl Pay<'_> {
    /// Blocks that are mined after it: `mine`.
    fn json(&self, times: u32, mine: u32) -> Value {
        let Self { to, asset, units, memo, .. } = self;
        let units = units.to_string();
        json!({"to": to, "asset": asset, "units": units, "memo": memo, "times": times, "mine": mine})
    }
}

pub(super) struct Facts {
    /// Blocks that are not final can be taken back.
    pub(super) reorgs: bool,
    /// Payers can attach a memo.
    pub(super) memos: bool,
    /// What is sent of the coin arrives to the last unit.
    pub(super) exact_coins: bool,
}

pub(super) enum Chain {
    Facade(Facade),
    /// The chain inside of the sandbox plugin, on a network of this name.
    Sandbox {
        network: String,
    },
}

impl Chain {
    /// So many addresses that nobody else pays to.
    pub(super) async fn addresses(&self, api: &Api, count: u32) -> Vec<String> {
        match self {
            Self::Facade(facade) => listed(&facade.control("addresses", json!({"count": count})).await),
            Self::Sandbox { .. } => {
                let mut addresses = Vec::new();
                for number in 0..count {
                    let seed = json!({"do": "address", "seed": format!("payee {number}")});
                    addresses.push(text(&self.simulate(api, &seed).await["address"]));
                }
                addresses
            }
        }
    }

    /// Height and hash of the head.
    pub(super) async fn head(&self, api: &Api) -> (u64, String) {
        match self {
            Self::Facade(facade) => {
                let told = facade.control("state", json!({})).await;
                (told["head"].as_u64().expect("a height"), text(&told["hash"]))
            }
            Self::Sandbox { .. } => {
                let told = self.simulate(api, &json!({"do": "state"})).await;
                (told["height"].as_u64().expect("a height"), text(&told["hash"]))
            }
        }
    }

    pub(super) async fn mine(&self, api: &Api, blocks: u32) {
        match self {
            Self::Facade(facade) => drop(facade.control("mine", json!({"blocks": blocks})).await),
            Self::Sandbox { .. } => drop(self.simulate(api, &json!({"do": "mine", "blocks": blocks})).await),
        }
    }

    /// A payment in a new block; answers its transaction (the last, of several) as the plugin names it.
    pub(super) async fn pay(&self, api: &Api, pay: Pay<'_>) -> String {
        match self {
            Self::Facade(facade) => {
                if pay.asset.is_none() {
                    for _ in 1..pay.times {
                        facade.control("pay", pay.json(1, 0)).await;
                    }
                    return text(&facade.control("pay", pay.json(1, 1)).await["tx"]);
                }
                text(&facade.control("pay", pay.json(pay.times, 1)).await["tx"])
            }
            Self::Sandbox { .. } => self.transfers(api, pay, false).await,
        }
    }

    /// A payment of the native coin that a contract makes, where the chain has such contracts.
    pub(super) async fn pay_by_code(&self, pay: Pay<'_>) -> String {
        let mut request = pay.json(1, 1);
        request["by_code"] = json!(true);
        text(&self.facade().control("pay", request).await["tx"])
    }

    /// All that only looks like this payment. Answers how many there were.
    pub(super) async fn impostors(&self, api: &Api, pay: Pay<'_>) -> u64 {
        match self {
            Self::Facade(facade) => counted(&facade.control("impostors", pay.json(1, 1)).await),
            Self::Sandbox { .. } => {
                // An unlisted token, and the right one to somebody else.
                self.transfers(api, Pay { asset: Some("usdt-look-alike"), ..pay }, false).await;
                let seed = json!({"do": "address", "seed": "somebody else"});
                let other = text(&self.simulate(api, &seed).await["address"]);
                self.transfers(api, Pay { to: &other, ..pay }, false).await;
                2
            }
        }
    }

    /// A transfer of zero units of a token that the chain includes.
    pub(super) async fn nothing(&self, api: &Api, pay: Pay<'_>) {
        match self {
            Self::Facade(facade) => drop(facade.control("nothing", pay.json(1, 1)).await),
            Self::Sandbox { .. } => drop(self.transfers(api, Pay { units: 0, ..pay }, false).await),
        }
    }

    /// This payment, included and failed: the transactions, one for each way to fail; some coins have none.
    pub(super) async fn failure(&self, api: &Api, pay: Pay<'_>) -> Vec<String> {
        match self {
            Self::Facade(facade) => {
                let told = facade.control("failure", pay.json(1, 1)).await;
                told["txs"].as_array().unwrap_or_else(|| panic!("no txs: {told}")).iter().map(text).collect()
            }
            Self::Sandbox { .. } => vec![self.transfers(api, pay, true).await],
        }
    }

    /// What the owner of the address sends to it. Answers how many there were; some chains take no such thing.
    pub(super) async fn to_itself(&self, api: &Api, pay: Pay<'_>) -> u64 {
        match self {
            Self::Facade(facade) => counted(&facade.control("to_itself", pay.json(1, 1)).await),
            Self::Sandbox { .. } => {
                let Pay { to, asset, units, memo, .. } = pay;
                let action = json!({
                    "do": "transfer", "from": to, "to": to, "asset": asset, "amount": units.to_string(), "memo": memo,
                });
                self.simulate(api, &action).await;
                1
            }
        }
    }

    /// What is true of this kind of chain, whatever its plugin says.
    pub(super) async fn facts(&self) -> Facts {
        match self {
            Self::Facade(facade) => {
                let told = facade.control("describe", json!({})).await;
                let fact = |name: &str| told[name].as_bool().unwrap_or_else(|| panic!("no {name}: {told}"));
                Facts { reorgs: fact("reorgs"), memos: fact("memos"), exact_coins: fact("exact_coins") }
            }
            Self::Sandbox { .. } => Facts { reorgs: true, memos: true, exact_coins: true },
        }
    }

    /// Takes the last `depth` blocks back, in the first of which is this transaction: it is gone, or in a later
    /// block `again`.
    pub(super) async fn take_back(&self, api: &Api, depth: u32, tx: &str, again: bool) {
        match self {
            Self::Facade(facade) => {
                let include = if again { "later" } else { "none" };
                facade.control("reorg", json!({"depth": depth, "include": include})).await;
            }
            Self::Sandbox { .. } => {
                self.simulate(api, &json!({"do": "retract", "tx": tx, "again": again})).await;
            }
        }
    }

    pub(super) fn facade(&self) -> &Facade {
        match self {
            Self::Facade(facade) => facade,
            Self::Sandbox { .. } => panic!("the sandbox has no upstream"),
        }
    }

    async fn transfers(&self, api: &Api, pay: Pay<'_>, fail: bool) -> String {
        let Pay { to, asset, units, memo, times } = pay;
        let one = json!({"to": to, "asset": asset, "amount": units.to_string(), "memo": memo});
        let list = vec![one; usize::try_from(times).expect("few")];
        text(&self.simulate(api, &json!({"do": "transfers", "list": list, "fail": fail})).await["tx"])
    }

    /// An action of the sandbox, by a test key or an operator's.
    pub(super) async fn simulate(&self, api: &Api, action: &Value) -> Value {
        match self {
            Self::Sandbox { network } => api.post(&format!("/v1/sandbox/{network}"), action).await.ok(),
            Self::Facade(_) => panic!("only the sandbox is told what to do through Kassa"),
        }
    }
}

/// Makes the listed assets stand on a local chain; answers addresses that nobody else pays to.
pub(super) async fn prepare(facade: &Facade, assets: &[Value]) -> Vec<String> {
    listed(&facade.control("prepare", json!({"assets": assets})).await)
}

fn listed(told: &Value) -> Vec<String> {
    told["addresses"].as_array().unwrap_or_else(|| panic!("no addresses: {told}")).iter().map(text).collect()
}

fn counted(told: &Value) -> u64 {
    told["count"].as_u64().unwrap_or_else(|| panic!("no count: {told}"))
}
