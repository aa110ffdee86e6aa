//! What goes wrong is told, and no password with it.

use crate::harness::RedisServer;
use crate::{Run, ended, program, run};

const PASSWORD: &str = "pa55w0rd-hunter2";

/// Every command that needs a store, with arguments.
const COMMANDS: [&[&str]; 9] = [
    &["stats"],
    &["stats", "--json"],
    &["scan"],
    &["get", "k"],
    &["ttl", "k"],
    &["invalidate", "k"],
    &["clear", "--yes"],
    &["clear"],
    &["locks"],
];

fn told(run: &Run) -> String {
    format!("{}{}", String::from_utf8_lossy(&run.out), run.errors)
}

#[tokio::test]
async fn a_password_is_never_printed() {
    let server = RedisServer::options().password(PASSWORD).start().await;
    let address = server.address();
    let urls = [
        format!("redis://:{PASSWORD}@{address}/0"),
        format!("redis://:{PASSWORD}-wrong@{address}"),
        format!("redis://default:{PASSWORD}@127.0.0.1:1"),
        format!("redis://default:{PASSWORD}?@{address}"),
        format!("redis://default:{PASSWORD}@{address}?password={PASSWORD}"),
        format!("redis://{PASSWORD}"),
        format!("http://user:{PASSWORD}@{address}"),
        format!("unix://{}?pass={PASSWORD}", server.socket().display()),
    ];
    for url in urls {
        for command in COMMANDS {
            for given in [
                run(&url, command),
                ended(&mut program(&[&["--url", &url], command].concat())),
            ] {
                // The host that is taken for one is not a password.
                let is_host = url == format!("redis://{PASSWORD}");
                assert!(
                    is_host || !told(&given).contains(PASSWORD),
                    "{command:?}: {}",
                    told(&given)
                );
            }
        }
    }
    let url = format!("redis://:{PASSWORD}@{address}/0");
    for arguments in [
        &["--help"][..],
        &["stats", "--help"],
        &["nonsense"],
        &["get"],
        &["get", "k", "--nonsense"],
    ] {
        let told = told(&run(&url, arguments));
        assert!(!told.contains(PASSWORD), "{told}");
    }
    let endpoint = format!("http://user:{PASSWORD}@127.0.0.1:1/metrics?token={PASSWORD}");
    assert!(!told(&run(&url, &["stats", "--metrics", &endpoint])).contains(PASSWORD));
    let endpoint = format!("http://127.0.0.1:1/metrics?token={PASSWORD}");
    assert!(!told(&run(&url, &["stats", "--metrics", &endpoint])).contains(PASSWORD));
    // It was the right one.
    assert_eq!(run(&url, &["stats"]).code, 0);
}

#[test]
fn a_dead_server_is_named_with_what_to_look_at() {
    for arguments in [&["get", "k"][..], &["stats"], &["stats", "--json"]] {
        let ended = run("redis://127.0.0.1:1/3", arguments);
        assert_eq!((ended.code, ended.out.len()), (1, 0));
        for part in [
            "redis://127.0.0.1:1/3",
            "onnection refused",
            "Is the server running",
        ] {
            assert!(ended.errors.contains(part), "{part} in {}", ended.errors);
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let server = RedisServer::options().password(PASSWORD).start().await;
    let ended = run(&server.url(), &["scan"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.errors.contains("refused the user, the password"),
        "{}",
        ended.errors
    );
}

#[test]
fn wrong_usage_has_a_code_of_its_own() {
    for (url, arguments) in [
        ("", &["scan"][..]),
        (" ", &["stats"]),
        ("memory://", &["scan"]),
        ("redis://127.0.0.1:1?nonsense=1", &["scan"]),
        ("redis://127.0.0.1:1", &["top"]),
        ("redis://127.0.0.1:1", &["nonsense"]),
        ("redis://127.0.0.1:1", &["get"]),
        ("redis://127.0.0.1:1", &["clear", "--yes", "--timeout", "soon"]),
        ("", &["stats", "--metrics", "https://localhost/metrics"]),
        ("", &["replay", "trace", "--capacities", "0"]),
    ] {
        let ended = run(url, arguments);
        assert_eq!((ended.code, ended.out.len()), (2, 0), "{arguments:?}: {ended:?}");
        assert!(ended.errors.starts_with("error: "), "{}", ended.errors);
    }
}

#[tokio::test]
async fn a_full_disk_is_a_failure() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let server = RedisServer::start().await;
    let mut command = program(&["stats", "--url", &server.url()]);
    let status = command
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stderr).contains("No space left"));
}
