//! `top` in a terminal: what it shows, and how it leaves.

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
async fn top_goes_on_while_the_server_is_away() {
    let mut server = RedisServer::start().await;
    let mut terminal = Terminal::run(&mut top(&server), 80, 24);
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
