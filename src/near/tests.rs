//! The near cache without an actor: a test plays the engine.

mod interleavings;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::key::{KeyMaker, Namespace};
use crate::weigher;

fn keys() -> impl Fn(&str) -> Key {
    let maker = KeyMaker::new(1000, false);
    move |name| maker.key(&Namespace::default(), name).unwrap()
}

fn text(near: &Near, key: &Key) -> Option<String> {
    near.read(key, |value, _| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    })
}

#[test]
fn readers_find_what_is_published_until_it_is_retracted() {
    let (key, (near, mut writer)) = (keys(), near(10_000));
    assert_eq!(text(&near, &key("a")), None);
    let a = writer.publish(key("a"), "1".into(), None);
    assert_eq!(text(&near, &key("a")).as_deref(), Some("1"));
    assert!(near.contains(&key("a")) && !near.contains(&key("b")));
    assert_eq!(near.hits(), 1, "a look at whether it is there is no hit");
    writer.retract(&a);
    assert_eq!(text(&near, &key("a")), None);
    assert_eq!((near.hits(), writer.len(), writer.bytes()), (1, 0, 0));
}

/// Key comparison is what keeps keys of one hash apart.
#[test]
fn keys_of_one_hash_are_told_apart() {
    let (near, mut writer) = near(10_000);
    let [a, b] = ["a", "b"].map(|name| Key::with_hash(name, 7));
    let entry = writer.publish(a.clone(), "1".into(), None);
    assert_eq!(text(&near, &b), None);
    writer.publish(b.clone(), "2".into(), None);
    writer.retract(&entry);
    assert_eq!((text(&near, &a), text(&near, &b).as_deref()), (None, Some("2")));
}

#[tokio::test(start_paused = true)]
async fn no_entry_is_found_at_its_deadline() {
    let (key, (near, writer)) = (keys(), near(10_000));
    tokio::time::advance(Duration::from_secs(5)).await;
    let mut writer = writer.since(Instant::now());
    writer.publish(key("a"), "1".into(), Some(Duration::from_millis(10)));
    assert_eq!(
        near.read(&key("a"), |_, left| left),
        Some(Some(Duration::from_millis(10)))
    );
    tokio::time::advance(Duration::from_millis(9)).await;
    assert!(near.contains(&key("a")));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!near.contains(&key("a")));
}

#[test]
fn tickets_close_the_gates_of_their_keys() {
    let (key, (near, mut writer)) = (keys(), near(1 << 20));
    let many: Vec<Key> = (0..17).map(|n| key(&format!("k{n}"))).collect();
    for key in &many {
        writer.publish(key.clone(), "1".into(), None);
    }
    let found = || many.iter().filter(|key| near.contains(key)).count();
    assert_eq!(found(), 17);
    let one = near.ticket(Keys::One(&many[0]));
    let again = near.ticket(Keys::One(&many[0]));
    assert!(!near.contains(&many[0]) && found() >= 10, "{} are found", found());
    drop(one);
    assert!(!near.contains(&many[0]), "the second ticket keeps it closed");
    drop(again);
    let few = near.ticket(Keys::Many(&many[..16]));
    assert!(many[..16].iter().all(|key| !near.contains(key)));
    drop(few);
    assert_eq!(found(), 17);
    let all = near.ticket(Keys::Many(&many));
    assert_eq!(found(), 0);
    drop(all);
    assert_eq!(found(), 17);
}

#[test]
fn nothing_is_found_once_the_writer_is_closed_or_gone() {
    let key = keys();
    for close_first in [true, false] {
        let (near, mut writer) = near(10_000);
        let entry = writer.publish(key("a"), "1".into(), None);
        if close_first {
            writer.close();
            assert!(!near.contains(&key("a")));
        }
        drop(writer);
        drop(near.ticket(Keys::One(&key("a"))));
        assert!(!near.contains(&key("a")));
        assert_eq!(Arc::strong_count(&entry), 1, "its memory is given back");
    }
}

#[test]
fn uses_are_counted_up_to_three_and_taken_once() {
    let (key, (near, mut writer)) = (keys(), near(10_000));
    let entry = writer.publish(key("a"), "1".into(), None);
    for uses in 0..5 {
        for _ in 0..uses {
            text(&near, &key("a"));
            near.contains(&key("a"));
        }
        assert_eq!(entry.take_uses(), uses.min(3));
        assert_eq!(entry.take_uses(), 0);
    }
}

proptest! {
    /// What is found is what was published last, and bytes and seats follow.
    #[test]
    fn it_agrees_with_a_map(steps in prop::collection::vec((0..40_u8, 0..4_u8), 0..300)) {
        let (key, (near, mut writer)) = (keys(), near(1 << 20));
        let mut model: HashMap<u8, Arc<NearEntry>> = HashMap::new();
        for (number, (name, step)) in steps.into_iter().enumerate() {
            let this = key(&format!("{name}-{}", "x".repeat(name.into())));
            match (model.get(&name).cloned(), step) {
                (Some(entry), 0 | 1) => {
                    writer.retract(&entry);
                    model.remove(&name);
                }
                (None, 0..=2) => {
                    let value = number.to_string().as_str().into();
                    model.insert(name, writer.publish(this.clone(), value, None));
                }
                (_, 3) if number % 40 == 0 => {
                    writer.flush();
                    model.clear();
                }
                _ => {}
            }
            let expected = model.get(&name).map(|entry| entry.value().clone());
            prop_assert_eq!(near.read(&this, |value, _| value.clone()), expected);
            prop_assert_eq!(writer.len(), model.len());
            let bytes: usize = model.values().map(|entry| weigher::near(entry.key())).sum();
            prop_assert_eq!(writer.bytes(), bytes);
        }
        let seen: Vec<_> = (0..writer.len()).filter_map(|_| writer.next_in_turn()).collect();
        for entry in model.values() {
            prop_assert_eq!(seen.iter().filter(|other| Arc::ptr_eq(other, entry)).count(), 1);
        }
    }
}

/// Writers queue numbers that count up, and an engine serves them. A reader never finds a number that is lower than
/// what was queued before its read began.
#[test]
fn no_read_is_older_than_a_write_that_was_complete_before_it() {
    const KEYS: usize = 8;
    let (near, mut writer) = near(1 << 20);
    let maker = keys();
    let keys: Arc<[Key]> = (0..KEYS).map(|n| maker(&n.to_string())).collect();
    let complete: Arc<[AtomicU64]> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let (sender, queue) = mpsc::sync_channel::<(usize, u64, Ticket)>(4);
    let done = Arc::new(AtomicBool::new(false));
    let writing = {
        let (near, keys, complete) = (near.clone(), keys.clone(), complete.clone());
        thread::spawn(move || {
            for number in 1..=60_000_u64 {
                let key = number as usize % KEYS;
                let ticket = near.ticket(Keys::One(&keys[key]));
                sender.send((key, number, ticket)).unwrap();
                complete[key].store(number, SeqCst);
                if number % 16 == 0 {
                    thread::yield_now();
                }
            }
        })
    };
    let found = Arc::new(Mutex::new(0_u64));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (near, keys, complete) = (near.clone(), keys.clone(), complete.clone());
            let (done, found) = (done.clone(), found.clone());
            thread::spawn(move || {
                let mut hits = 0;
                let mut turn = 0;
                while !done.load(SeqCst) {
                    turn = (turn + 1) % KEYS;
                    let least = complete[turn].load(SeqCst);
                    if let Some(text) = text(&near, &keys[turn]) {
                        let number: u64 = text.parse().unwrap();
                        assert!(number >= least, "{number} after {least} was complete");
                        hits += 1;
                    }
                }
                *found.lock().unwrap() += hits;
            })
        })
        .collect();
    let mut held: Vec<Option<Arc<NearEntry>>> = vec![None; KEYS];
    while let Ok((key, number, ticket)) = queue.recv() {
        if let Some(entry) = held[key].take() {
            writer.retract(&entry);
        }
        let value = number.to_string().as_str().into();
        held[key] = Some(writer.publish(keys[key].clone(), value, None));
        drop(ticket);
    }
    writing.join().unwrap();
    done.store(true, SeqCst);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(*found.lock().unwrap() > 1_000, "the near cache answered");
}

/// The first key expires between the looks at both.
#[tokio::test(start_paused = true)]
async fn keys_are_read_together_only_if_all_are_alive_after_the_last_look() {
    let (key, (near, writer)) = (keys(), near(10_000));
    let mut writer = writer.since(Instant::now());
    let both = [key("a"), key("b")];
    let due = Duration::from_millis(10);
    writer.publish(both[0].clone(), "1".into(), Some(due));
    writer.publish(both[1].clone(), "2".into(), None);
    let looks_at = |at: Duration| near.read_all_by(&both, |_, _| (), || Instant::now() + at);
    assert!(looks_at(due - Duration::from_nanos(1)).is_some());
    assert!(looks_at(due).is_none());
}
