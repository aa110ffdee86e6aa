use proptest::prelude::*;
use redis::Value as Wire;

use super::version::{SPREAD, VERSION};
use super::*;
use crate::engines::redis::cluster::slot_of;
use crate::error::Error;
use crate::key::KeyMaker;

#[test]
fn glob_characters_are_literal() {
    assert_eq!(pattern("a:"), "a:*");
    assert_eq!(pattern(r"*?[x]^\"), r"\*\?\[x\]\^\\*");
    assert_eq!(pattern(""), "*");
}

#[test]
fn only_another_version_is_refused() {
    let bulk = |text: &str| Wire::BulkString(text.as_bytes().to_vec());
    for reply in [Wire::Nil, Wire::Okay, bulk(VERSION)] {
        assert!(Layout::new(false).check_version(&reply).is_ok());
    }
    for (reply, named) in [
        ("3", "version 3,"),
        ("secret", "unknown form"),
        ("", "unknown form"),
    ] {
        let Err(Error::InvalidConfig { reason }) = Layout::new(false).check_version(&bulk(reply)) else {
            panic!("{reply} is taken");
        };
        assert!(reason.contains(named) && reason.contains("has 1:"), "{reason}");
    }
}

/// All names that a layout makes for a key, and those in scripts.
fn names(layout: &Layout, key: &str) -> Vec<String> {
    let mut names = vec![
        layout.lock(key),
        layout.fence(key),
        layout.lease(key),
        layout.tombstones(key),
        format!("{}{key}{}", layout.depend(), layout.close()),
        layout.leases().to_owned(),
        layout.changed().to_owned(),
        layout.0.version.clone(),
    ];
    names.extend(layout.0.absent.iter().cloned());
    for source in layout.scripts() {
        let quoted = source.split('\'').skip(1).step_by(2);
        names.extend(
            quoted
                .filter(|text| text.contains(RESERVED_PREFIX))
                .map(str::to_owned),
        );
    }
    names
}

#[test]
fn scripts_keep_as_many_changed_names_as_plain_commands() {
    let script = include_str!("../scripts/changed.lua");
    let kept = format!("local most_changed = {}\n", Layout::MOST_CHANGED);
    assert!(script.contains(&kept));
    let longest = format!("local longest_noted = {}\n", Layout::LONGEST_NOTED);
    assert!(script.contains(&longest));
}

#[test]
fn what_is_kept_beside_values_is_reserved() {
    for name in names(&Layout::new(false), "a") {
        assert!(name.starts_with(RESERVED_PREFIX), "{name}");
    }
}

#[test]
fn what_is_announced_is_heard() {
    for layout in [
        Layout::new(false),
        Layout::new(true),
        tagged("app"),
        Layout::spread(),
    ] {
        for subject in [Subject::Lock("a}{".into()), Subject::Lease("{app}:a".into())] {
            assert_eq!(layout.subject_of(&layout.channel_of(&subject)), Some(subject));
        }
        assert_eq!(layout.subject_of(&layout.unheard_channel("a")), None);
    }
}

fn tagged(tag: &str) -> Layout {
    Layout::of(&Namespace::tagged(tag), false)
}

proptest! {
    /// Strangers choose keys.
    #[test]
    fn all_names_of_a_tag_are_in_its_slot(
        tag in "[A-Za-z0-9._-]{1,64}",
        namespace in prop::option::of("[a-z]{1,8}"),
        key in r"[{}a:\PC]{1,20}",
    ) {
        let root = Namespace::tagged(&tag);
        let namespace = namespace.map_or(Ok(root.clone()), |name| root.nested(&name));
        let maker = KeyMaker::new(1000, false);
        let Ok(key) = maker.key(&namespace.unwrap(), &key) else { return Ok(()) };
        let layout = tagged(&tag);
        let slot = slot_of(tag.as_bytes());
        prop_assert_eq!(slot_of(key.as_str().as_bytes()), slot);
        for name in names(&layout, key.as_str()) {
            prop_assert_eq!(slot_of(name.as_bytes()), slot, "{}", name);
        }
    }
}

#[test]
fn stores_of_one_node_and_of_a_whole_cluster_do_not_mix() {
    let bulk = |text: &str| Wire::BulkString(text.as_bytes().to_vec());
    for (layout, found) in [(Layout::spread(), VERSION), (Layout::new(false), SPREAD)] {
        let Err(Error::InvalidConfig { reason }) = layout.check_version(&bulk(found)) else {
            panic!("{found} is taken");
        };
        for version in [VERSION, SPREAD] {
            assert!(reason.contains(&format!(" {version}")), "{reason}");
        }
    }
    assert!(Layout::spread().check_version(&bulk(SPREAD)).is_ok());
}

proptest! {
    #[test]
    fn what_is_kept_beside_a_key_is_in_its_slot(key in r"[{}a:\PC]{1,20}") {
        let (layout, slot) = (Layout::spread(), slot_of(key.as_bytes()));
        let (depend, close) = {
            let key = Key::with_hash(&key, 1);
            let (depend, close) = layout.around(&key);
            (depend.into_owned(), close)
        };
        let names = [
            layout.lock(&key),
            layout.fence(&key),
            layout.lease(&key),
            layout.channel(&key),
            format!("{depend}{key}{close}"),
        ];
        for name in names {
            prop_assert_eq!(slot_of(name.as_bytes()), slot, "{}", name);
            prop_assert!(name.starts_with(RESERVED_PREFIX), "{}", name);
        }
    }
}

#[test]
fn the_librarys_own_keys_are_told_from_values() {
    for own in [
        "cachestore:lock:{1f}:k",
        "{app}:cachestore:lock:{k}",
        "{app}:cachestore:layout",
    ] {
        assert!(is_own(own.as_bytes()), "{own}");
    }
    for value in [
        "k",
        "{app}:k",
        "{app}cachestore:k",
        "{cachestore:k",
        "ns:cachestore:k",
        "{app",
        "",
    ] {
        assert!(!is_own(value.as_bytes()), "{value}");
    }
}
