//! The example as a process, and a Redis server for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use tokio::time::Instant;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program with these arguments.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_observability"));
    program.env_remove("CACHESTORE_URL").args(arguments);
    program
}

/// How the program ends, with the texts that it wrote.
pub(crate) fn ended(arguments: &[&str]) -> (Output, String) {
    let output = program(arguments).output().unwrap();
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    (output, text)
}

/// Asks until the answer is there.
pub(crate) fn wait_for<T>(subject: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {subject} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A process that ends with the test.
pub(crate) struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example, with visitors.
pub(crate) struct Service {
    address: String,
    /// It has more to print, and fails where nobody reads.
    _output: BufReader<ChildStdout>,
    _process: Ends,
}

impl Service {
    pub(crate) fn start(url: &str) -> Self {
        let mut process = program(&["--listen", "127.0.0.1:0", "--url", url]);
        let mut process = process
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let _process = Ends(process);
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let (address, _) = line.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let address = address.to_owned();
        Self {
            address,
            _output: output,
            _process,
        }
    }

    /// The head and the body of the answer.
    pub(crate) fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    pub(crate) fn metrics(&self) -> String {
        self.ask("GET /metrics").1
    }
}

/// A Redis server on a socket of its own.
pub(crate) struct Redis {
    folder: PathBuf,
    _process: Ends,
}

impl Redis {
    pub(crate) fn start() -> Self {
        // The path of a socket must be short.
        let folder = std::env::temp_dir().join(format!("shop-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("redis.sock");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server: see tests/run.sh");
        let _process = Ends(process);
        wait_for("socket of the server", || socket.exists().then_some(()));
        Self { folder, _process }
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}/redis.sock", self.folder.display())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The socket alone would be left.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
