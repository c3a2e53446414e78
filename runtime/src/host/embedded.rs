//! The contents of the binary: chain plugins as components, and the manifests of the networks they read.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_names_no_folder_of_whoever_built_it() {
        let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let home = format!("{}/", std::env::home_dir().unwrap().display());
        for plugin in PLUGINS {
            let names = |folder: &str| plugin.windows(folder.len()).any(|part| part == folder.as_bytes());
            assert!(names("/cargo/registry/"), "it says where it broke");
            for own in [repository.strip_suffix("runtime/").unwrap(), &home] {
                assert!(!names(own), "{own}");
            }
        }
    }
}
