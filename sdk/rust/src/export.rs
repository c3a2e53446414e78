//! Macros that export a plugin crate's roles.
//!
//! On targets other than wasm they export nothing, they only check that the type fits: there a plugin crate is an
//! ordinary library, whose logic is tested natively, and two of them can be linked into one test.

/// Puts the plugin's manifest into the component, as the custom section `kassa:manifest`.
///
/// The path is relative to the plugin crate: `kassa_sdk::manifest!("plugin.toml");`
#[macro_export]
macro_rules! manifest {
    ($path:literal) => {
        const _: () = {
            const MANIFEST: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path));
            // A link section is `unsafe` to name because on other targets it could be executable; a custom
            // section of wasm is not even loaded.
            #[cfg(target_family = "wasm")]
            #[allow(unsafe_code)]
            #[used]
            #[unsafe(link_section = "kassa:manifest")]
            static SECTION: [u8; MANIFEST.len()] =
                *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path));
        };
    };
}

/// Exports a type that implements [`Chain`](crate::chain::Chain) as the role `chain`.
#[macro_export]
macro_rules! export_chain {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
    $crate::bindings::chain::export_chain_role!($type with_types_in $crate::bindings::chain);
        };
        const _: fn() = $crate::chain::implements::<$type>;
    };
}

/// Exports a type that implements [`Finder`](crate::finder::Finder) as the role `finder`.
#[macro_export]
macro_rules! export_finder {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
    $crate::bindings::finder::export_finder_role!($type with_types_in $crate::bindings::finder);
        };
        const _: fn() = $crate::finder::implements::<$type>;
    };
}

/// Exports a type that implements [`Balances`](crate::balances::Balances) as the role `balances`.
#[macro_export]
macro_rules! export_balances {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
    $crate::bindings::balances::export_balances_role!($type with_types_in $crate::bindings::balances);
        };
        const _: fn() = $crate::balances::implements::<$type>;
    };
}

/// Exports a type that implements [`Ownership`](crate::ownership::Ownership) as the role `ownership`.
#[macro_export]
macro_rules! export_ownership {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
    $crate::bindings::ownership::export_ownership_role!($type with_types_in $crate::bindings::ownership);
        };
        const _: fn() = $crate::ownership::implements::<$type>;
    };
}

/// Exports a type that implements [`Simulator`](crate::simulator::Simulator) as the role `simulator`.
#[macro_export]
macro_rules! export_simulator {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            $crate::bindings::simulator::export_simulator_role!($type with_types_in $crate::bindings::simulator);
        };
        const _: fn() = $crate::simulator::implements::<$type>;
    };
}

/// Exports a type that implements [`Matcher`](crate::matcher::Matcher) as the role `matcher`.
#[macro_export]
macro_rules! export_matcher {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
    $crate::bindings::matcher::export_matcher_role!($type with_types_in $crate::bindings::matcher);
        };
        const _: fn() = $crate::matcher::implements::<$type>;
    };
}

/// Exports a type that implements [`Fulfiller`](crate::fulfiller::Fulfiller) as the role `fulfiller`.
#[macro_export]
macro_rules! export_fulfiller {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            $crate::bindings::fulfiller::export_fulfiller_role!($type with_types_in $crate::bindings::fulfiller);
        };
        const _: fn() = $crate::fulfiller::implements::<$type>;
    };
}

/// Exports a type that implements [`Form`](crate::form::Form) as the role `form`.
#[macro_export]
macro_rules! export_form {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
    $crate::bindings::form::export_form_role!($type with_types_in $crate::bindings::form);
        };
        const _: fn() = $crate::form::implements::<$type>;
    };
}

/// Exports a type that implements [`Rates`](crate::rates::Rates) as the role `rates`.
#[macro_export]
macro_rules! export_rates {
    ($type:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
    $crate::bindings::rates::export_rates_role!($type with_types_in $crate::bindings::rates);
        };
        const _: fn() = $crate::rates::implements::<$type>;
    };
}
