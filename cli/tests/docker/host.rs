//! What the host offers and asks: a web server, a web client, and streams joined to each other.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// A connection's patience.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves `body` to whoever asks on 127.0.0.1; returns the port. Ends with the test.
pub(crate) fn serve(body: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") && request.len() < 65536 {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => request.extend(&buffer[..count]),
                    _ => break,
                }
            }
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    port
}

/// The body of what 127.0.0.1:`port` has at `path`. Tries again for a while: a server in the guest may be starting.
pub(crate) fn fetch(port: u16, path: &str) -> Result<Vec<u8>, String> {
    let started = Instant::now();
    loop {
        match fetch_once(port, path) {
            Ok(answer) => {
                let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
                match split {
                    Some(at) if answer.starts_with(b"HTTP/1.") && answer[8..].starts_with(b" 200") => {
                        return Ok(answer[at + 4..].to_vec());
                    }
                    _ if started.elapsed() < PATIENCE => {}
                    _ => return Err(format!("port {port}{path}: {:?}", String::from_utf8_lossy(&answer))),
                }
            }
            Err(_) if started.elapsed() < PATIENCE => {}
            Err(error) => return Err(format!("port {port}{path}: {error}")),
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn fetch_once(port: u16, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Carries bytes both ways, each direction until its end.
pub(crate) fn join(client: UnixStream, server: TcpStream) {
    let (Ok(mut from_client), Ok(mut from_server)) = (client.try_clone(), server.try_clone()) else { return };
    let (mut to_client, mut to_server) = (client, server);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
}

/// Bytes without a pattern, the same each time.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
