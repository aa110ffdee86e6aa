//! Concurrent histories against a register: all calls on a key could have happened one at a time, a
//! lost reply counting as "maybe", and what was said not to be done counting as not done.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::histories::Histories;
use crate::harness::opening::{config, ms, open, soak};
use crate::harness::register::{Answer, Call, Event, is_linearizable};
use crate::harness::{Direction, Proxy, RedisServer, Seeded, Toxic};

fn event(call: Call, answer: Option<Answer>, began: u64, ended: u64) -> Event {
    Event {
        call,
        answer,
        began,
        ended,
    }
}

#[test]
fn the_checker_takes_what_could_have_happened() {
    let (done, held) = (Some(Answer::Done), |v| Some(Answer::Held(v)));
    assert!(is_linearizable(&[]));
    assert!(is_linearizable(&[
        event(Call::Write(1), done, 0, 3),
        event(Call::Read, held(None), 1, 2)
    ]));
    assert!(is_linearizable(&[
        event(Call::Write(1), done, 0, 3),
        event(Call::Read, held(Some(1)), 1, 2)
    ]));
    // A lost reply: it happened late, or never.
    let lost = event(Call::Write(2), None, 1, 2);
    let write = event(Call::Write(1), done, 0, 1);
    assert!(is_linearizable(&[
        write,
        lost,
        event(Call::Read, held(Some(1)), 5, 6),
        event(Call::Read, held(Some(2)), 7, 8)
    ]));
    assert!(is_linearizable(&[
        write,
        lost,
        event(Call::Read, held(Some(1)), 5, 6)
    ]));
}

#[test]
fn the_checker_rejects_what_could_not() {
    let (done, held) = (Some(Answer::Done), |v| Some(Answer::Held(v)));
    let write = |value, at| event(Call::Write(value), done, at, at + 1);
    let read = |value, at| event(Call::Read, held(value), at, at + 1);
    // A stale read, a lost write, a value from nowhere, a value that comes back.
    assert!(!is_linearizable(&[write(1, 0), write(2, 2), read(Some(1), 4)]));
    assert!(!is_linearizable(&[write(1, 0), read(None, 2)]));
    assert!(!is_linearizable(&[write(1, 0), read(Some(9), 2)]));
    let lost = event(Call::Write(2), None, 1, 2);
    assert!(!is_linearizable(&[
        write(1, 0),
        lost,
        read(Some(2), 4),
        read(Some(1), 6)
    ]));
    // Two that added, two that took, a swap that lost an update.
    let won = Some(Answer::Was(true));
    assert!(!is_linearizable(&[
        event(Call::Add(1), won, 0, 5),
        event(Call::Add(2), won, 0, 5)
    ]));
    let take = |begin| event(Call::Take, held(Some(1)), begin, 9);
    assert!(!is_linearizable(&[write(1, 0), take(2), take(3)]));
    let swap = |to| event(Call::Swap { from: 1, to }, won, 2, 5);
    assert!(!is_linearizable(&[write(1, 0), swap(2), swap(3)]));
}

/// What goes wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    None,
    Network,
    Kills,
    /// Planted in the test: a caller sometimes answers with what it read before.
    StaleReads,
}

/// How many histories were checked, and how many of them could not have happened.
async fn histories(lasts: Duration, connections: usize, faults: Faults) -> (usize, usize) {
    let mut server = RedisServer::options().append_only().start().await;
    let proxy = Proxy::start(server.address(), 4).await;
    let settings = config(&proxy.url()).connections(connections);
    let store = open(settings.response_timeout(ms(60)).request_timeout(ms(500))).await;
    let mut histories = Histories::new(store, faults == Faults::StaleReads);
    let mut random = Seeded::new(44);
    let end = Instant::now() + lasts;
    let mut round = 0;
    // On a slow machine it takes longer to have seen enough.
    while Instant::now() < end || histories.checked < 60 {
        round += 1;
        let during = async {
            sleep(Duration::from_micros(random.below(3000))).await;
            let direction = if random.percent(50) {
                Direction::Up
            } else {
                Direction::Down
            };
            match faults {
                Faults::Network => match random.below(6) {
                    0 => proxy.cut(),
                    1 => proxy.blackhole(),
                    2 => proxy.add(direction, Toxic::Timeout { close: Some(ms(10)) }),
                    3 => proxy.add(
                        direction,
                        Toxic::Slicer {
                            size: 9,
                            variation: 8,
                            delay: ms(0),
                        },
                    ),
                    4 => proxy.add(
                        direction,
                        Toxic::LimitData {
                            bytes: random.below(3000),
                        },
                    ),
                    _ => proxy.add(
                        direction,
                        Toxic::Latency {
                            delay: ms(2),
                            jitter: ms(2),
                        },
                    ),
                },
                Faults::Kills if round % 8 == 0 => {
                    server.kill9();
                    server.restart().await;
                }
                _ => {}
            }
            sleep(ms(if faults == Faults::Network { 15 } else { 0 })).await;
            proxy.heal();
        };
        histories.round(during).await;
    }
    let (checked, wrong, lost) = (histories.checked, histories.wrong, histories.lost());
    println!(
        "linearizability: {faults:?}, {connections} connection(s), {lasts:?}: {checked} histories, {wrong} wrong, {lost} lost replies, {} refused, {} connections",
        histories.refused(),
        proxy.accepted(),
    );
    if let Some(example) = histories.example.filter(|_| faults != Faults::StaleReads) {
        println!("{example}");
    }
    if matches!(faults, Faults::Network | Faults::Kills) {
        assert!(lost > 10, "nothing was lost");
    }
    (checked, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed() {
    for connections in [1, 3] {
        assert_eq!(histories(ms(1500), connections, Faults::None).await.1, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_network_fails() {
    assert_eq!(histories(ms(4000), 1, Faults::Network).await.1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_killed() {
    assert_eq!(histories(ms(4000), 2, Faults::Kills).await.1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_fault_is_found() {
    assert!(histories(ms(1000), 1, Faults::StaleReads).await.1 > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_linearizability() {
    for faults in [Faults::Network, Faults::Kills] {
        assert_eq!(histories(soak() / 2, 1, faults).await.1, 0);
    }
}
