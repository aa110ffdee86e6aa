//! What the program does in a terminal: `top`, and the question of `clear`.

use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::RedisServer;
use crate::program;
use crate::pty::Terminal;

/// The terminal leaves the screen that `top` draws on.
const LEAVES: &str = "\u{1b}[?1049l";
const PATIENCE: Duration = Duration::from_secs(30);

fn top(server: &RedisServer) -> Command {
    let mut command = program(&["top", "--interval", "100ms"]);
    command.env("CACHESTORE_URL", server.url());
    command
}

#[tokio::test]
async fn top_shows_the_figures_and_quits_by_q() {
    let server = RedisServer::start().await;
    let mut terminal = Terminal::run(&mut top(&server), 80, 24);
    for word in ["cachestore-cli", "look-ups", "commands", "evicted", "trip"] {
        terminal.wait_for(word);
    }
    // After a change of its size, everything is drawn anew. The last figures have no room.
    terminal.resize(40, 6);
    for word in ["cachestore-cli", "look-ups", "commands", "keys"] {
        terminal.wait_for(word);
    }
    terminal.press("q");
    terminal.wait_for(LEAVES);
    assert_eq!(terminal.end().code(), Some(0));
    terminal.is_restored();
}

#[tokio::test]
async fn top_waits_for_a_server_that_is_away() {
    let mut server = RedisServer::start().await;
    server.kill9();
    let mut terminal = Terminal::run(&mut top(&server), 80, 24);
    terminal.wait_for("refused");
    server.restart().await;
    terminal.wait_for("trip");
    server.kill9();
    terminal.wait_for("unavailable");
    server.restart().await;
    let end = Instant::now() + PATIENCE;
    while !server
        .command(&["INFO", "commandstats"])
        .text()
        .contains("cmdstat_dbsize")
    {
        assert!(Instant::now() < end, "the figures are not asked for any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    terminal.press("\u{3}");
    terminal.wait_for(LEAVES);
    assert_eq!(terminal.end().code(), Some(0));
}

#[tokio::test]
async fn top_restores_the_terminal_when_it_is_told_to_end() {
    let server = RedisServer::start().await;
    let mut terminal = Terminal::run(&mut top(&server), 80, 24);
    terminal.wait_for("trip");
    terminal.signal("TERM");
    terminal.wait_for(LEAVES);
    assert_eq!(terminal.end().code(), Some(0));
    terminal.is_restored();
}

#[tokio::test]
async fn a_clearing_goes_on_after_a_yes_only() {
    let server = RedisServer::start().await;
    for (answer, code, left) in [("no", 1, 1), ("", 1, 1), ("yes", 0, 0)] {
        server.command(&["SET", "tenant:k", "v"]);
        let mut clear = program(&["clear", "--namespace", "tenant"]);
        let mut terminal = Terminal::run(clear.env("CACHESTORE_URL", server.url()), 80, 24);
        terminal.wait_for("every entry of the namespace tenant at redis://");
        terminal.wait_for("Type yes");
        terminal.press(&format!("{answer}\n"));
        terminal.wait_for(if left == 0 {
            "removed 1 entry"
        } else {
            "nothing was removed"
        });
        assert_eq!(terminal.end().code(), Some(code));
        assert_eq!(server.command(&["EXISTS", "tenant:k"]).int(), left);
    }
}
