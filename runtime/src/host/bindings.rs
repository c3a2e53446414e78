//! The code that wasmtime generates for the package `kassa:plugin`, and nothing else.
//!
//! The services (imports) are generated once; each role (export) has a world of its own that borrows the
//! shared nouns from there. So a component of two roles is two small views on one instance, and a role that a
//! component does not export costs nothing.

// Generated code: it lays records out in memory by itself.
#![allow(
    unsafe_code,
    dead_code,
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::restriction,
    clippy::pedantic
)]

/// The imports, and the nouns that everything shares.
pub(crate) mod services {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package kassa:host;
            world services {
                import kassa:plugin/types@0.1.0;
                import kassa:plugin/http@0.1.0;
                import kassa:plugin/upstream@0.1.0;
                import kassa:plugin/storage@0.1.0;
                import kassa:plugin/watch@0.1.0;
                import kassa:plugin/log@0.1.0;
                import kassa:plugin/clock@0.1.0;
                import kassa:plugin/webhooks@0.1.0;
                import kassa:plugin/secrets@0.1.0;
                import kassa:plugin/random@0.1.0;
            }
        ",
        world: "kassa:host/services",
        // Every import may end the call: an exhausted budget of host calls is reported that way.
        imports: {
            "kassa:plugin/http": async | trappable,
            "kassa:plugin/storage": async | trappable,
            "kassa:plugin/watch": async | trappable,
            "kassa:plugin/webhooks": async | trappable,
            default: trappable,
        },
        additional_derives: [PartialEq, Clone, serde::Serialize, serde::Deserialize],
    });
}

/// The role `chain`.
pub(crate) mod chain {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world chain-role { export kassa:plugin/chain@0.1.0; }",
        world: "kassa:host/chain-role",
        with: { "kassa:plugin/types@0.1.0": crate::host::bindings::services::kassa::plugin::types },
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}

/// The role `finder`.
pub(crate) mod finder {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world finder-role { export kassa:plugin/finder@0.1.0; }",
        world: "kassa:host/finder-role",
        with: { "kassa:plugin/types@0.1.0": crate::host::bindings::services::kassa::plugin::types },
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}

/// The role `balances`.
pub(crate) mod balances {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world balances-role { export kassa:plugin/balances@0.1.0; }",
        world: "kassa:host/balances-role",
        with: { "kassa:plugin/types@0.1.0": crate::host::bindings::services::kassa::plugin::types },
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}

/// The role `ownership`.
pub(crate) mod ownership {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world ownership-role { export kassa:plugin/ownership@0.1.0; }",
        world: "kassa:host/ownership-role",
        with: { "kassa:plugin/types@0.1.0": crate::host::bindings::services::kassa::plugin::types },
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}

/// The role `simulator`.
pub(crate) mod simulator {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world simulator-role { export kassa:plugin/simulator@0.1.0; }",
        world: "kassa:host/simulator-role",
        with: { "kassa:plugin/types@0.1.0": crate::host::bindings::services::kassa::plugin::types },
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}

/// The role `matcher`.
pub(crate) mod matcher {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world matcher-role { export kassa:plugin/matcher@0.1.0; }",
        world: "kassa:host/matcher-role",
        with: { "kassa:plugin/types@0.1.0": crate::host::bindings::services::kassa::plugin::types },
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}

/// The role `fulfiller`.
pub(crate) mod fulfiller {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world fulfiller-role { export kassa:plugin/fulfiller@0.1.0; }",
        world: "kassa:host/fulfiller-role",
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}

/// The role `rates`.
pub(crate) mod rates {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world rates-role { export kassa:plugin/rates@0.1.0; }",
        world: "kassa:host/rates-role",
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}

/// The role `form`.
pub(crate) mod form {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package kassa:host; world form-role { export kassa:plugin/form@0.1.0; }",
        world: "kassa:host/form-role",
        with: { "kassa:plugin/types@0.1.0": crate::host::bindings::services::kassa::plugin::types },
        exports: { default: async },
        additional_derives: [PartialEq, Clone],
    });
}
