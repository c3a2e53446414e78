//! The output of `wit-bindgen` for the package `kassa:plugin`, and nothing else.
//!
//! The services (imports) are generated once, in [`services`]; each role (export) has a world of its own that borrows
//! the shared nouns from there. So a plugin of two roles calls two export macros, and both speak of the same
//! `Transfer`. The encoder of components merges the worlds and leaves out every service that the plugin does not call.

// Generated code: it passes pointers over the component boundary and casts lengths.
#![allow(
    unsafe_code,
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::restriction,
    clippy::pedantic
)]

/// The imports, and the nouns that everything shares.
pub mod services {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package kassa:sdk;
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
        world: "kassa:sdk/services",
        additional_derives: [PartialEq],
        generate_unused_types: true,
        generate_all,
    });
}

/// The role `chain`.
pub mod chain {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world chain-role { export kassa:plugin/chain@0.1.0; }",
        world: "kassa:sdk/chain-role",
        with: { "kassa:plugin/types@0.1.0": crate::bindings::services::kassa::plugin::types },
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_chain_role",
        default_bindings_module: "::kassa_sdk::bindings::chain",
    });
}

/// The role `finder`.
pub mod finder {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world finder-role { export kassa:plugin/finder@0.1.0; }",
        world: "kassa:sdk/finder-role",
        with: { "kassa:plugin/types@0.1.0": crate::bindings::services::kassa::plugin::types },
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_finder_role",
        default_bindings_module: "::kassa_sdk::bindings::finder",
    });
}

/// The role `balances`.
pub mod balances {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world balances-role { export kassa:plugin/balances@0.1.0; }",
        world: "kassa:sdk/balances-role",
        with: { "kassa:plugin/types@0.1.0": crate::bindings::services::kassa::plugin::types },
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_balances_role",
        default_bindings_module: "::kassa_sdk::bindings::balances",
    });
}

/// The role `ownership`.
pub mod ownership {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world ownership-role { export kassa:plugin/ownership@0.1.0; }",
        world: "kassa:sdk/ownership-role",
        with: { "kassa:plugin/types@0.1.0": crate::bindings::services::kassa::plugin::types },
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_ownership_role",
        default_bindings_module: "::kassa_sdk::bindings::ownership",
    });
}

/// The role `simulator`.
pub mod simulator {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world simulator-role { export kassa:plugin/simulator@0.1.0; }",
        world: "kassa:sdk/simulator-role",
        with: { "kassa:plugin/types@0.1.0": crate::bindings::services::kassa::plugin::types },
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_simulator_role",
        default_bindings_module: "::kassa_sdk::bindings::simulator",
    });
}

/// The role `matcher`.
pub mod matcher {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world matcher-role { export kassa:plugin/matcher@0.1.0; }",
        world: "kassa:sdk/matcher-role",
        with: { "kassa:plugin/types@0.1.0": crate::bindings::services::kassa::plugin::types },
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_matcher_role",
        default_bindings_module: "::kassa_sdk::bindings::matcher",
    });
}

/// The role `fulfiller`.
pub mod fulfiller {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world fulfiller-role { export kassa:plugin/fulfiller@0.1.0; }",
        world: "kassa:sdk/fulfiller-role",
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_fulfiller_role",
        default_bindings_module: "::kassa_sdk::bindings::fulfiller",
    });
}

/// The role `rates`.
pub mod rates {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world rates-role { export kassa:plugin/rates@0.1.0; }",
        world: "kassa:sdk/rates-role",
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_rates_role",
        default_bindings_module: "::kassa_sdk::bindings::rates",
    });
}

/// The role `form`.
pub mod form {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package kassa:sdk; world form-role { export kassa:plugin/form@0.1.0; }",
        world: "kassa:sdk/form-role",
        with: { "kassa:plugin/types@0.1.0": crate::bindings::services::kassa::plugin::types },
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_form_role",
        default_bindings_module: "::kassa_sdk::bindings::form",
    });
}
