use super::super::layout::Layout;
use super::*;
use crate::key::Namespace;

fn layouts() -> [Layout; 3] {
    [
        Layout::new(false),
        Layout::of(&Namespace::tagged(&"t".repeat(64)), false),
        Layout::spread(),
    ]
}

#[test]
fn a_script_is_called_by_its_digest_or_by_its_source() {
    let scripts = Scripts::new(&[], "");
    let packed = scripts.call(Script::Drain, By::Digest).get_packed_command();
    let digest = redis::Script::new(scripts.source(Script::Drain))
        .get_hash()
        .to_owned();
    assert!(String::from_utf8(packed).unwrap().contains(&digest));
    let packed = scripts.call(Script::Drain, By::Source).get_packed_command();
    assert!(String::from_utf8(packed).unwrap().contains("SRANDMEMBER"));
}

/// A server takes no longer text from a client that has not introduced itself, and ends its connection.
#[test]
fn every_script_is_short_enough_for_a_server_that_asks_for_a_password() {
    for source in layouts().iter().flat_map(Layout::scripts) {
        assert!(source.len() <= 16 * 1024, "{source}");
    }
}

#[test]
fn names_come_from_the_layout() {
    for script in Script::ALL {
        assert!(
            !script.text().contains("'cachestore:"),
            "{script:?} names it itself"
        );
    }
    for source in layouts().iter().flat_map(Layout::scripts) {
        assert!(!source.contains("NAMES."), "names what there is not: {source}");
    }
}

/// A user of the server's access control may run what the security page lists, and scripts nothing else.
#[test]
fn the_security_page_gives_rights_to_each_command_that_a_script_calls() {
    let page = include_str!("../../../../docs/security.md");
    let rights = page.lines().find(|line| line.starts_with("user app on "));
    let rights: Vec<&str> = rights.unwrap().split(' ').collect();
    for script in Script::ALL {
        for call in script.text().split("call('").skip(1) {
            let command = call.split('\'').next().unwrap();
            let right = format!("+{}", command.to_lowercase());
            assert!(rights.contains(&right.as_str()), "{command}");
        }
    }
}
