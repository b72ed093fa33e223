//! A service that has rows by key, for tables behind a URL.
//! In: which rows it has. Out: the keys that it was asked for, in order.

use super::gateway::PATIENCE;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

pub struct RowService {
    /// `http://127.0.0.1:PORT/{key}`
    pub url: String,
    rows: Rows,
    asked: Receiver<String>,
}

type Rows = Arc<Mutex<BTreeMap<String, Value>>>;

impl RowService {
    pub fn start() -> RowService {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/{{key}}", listener.local_addr().unwrap());
        let (rows, (tell, asked)) = (Rows::default(), channel());
        let served = rows.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &served, &tell)));
        RowService { url, rows, asked }
    }

    pub fn set(&self, key: &str, row: Value) {
        self.rows.lock().unwrap().insert(key.into(), row);
    }

    /// It takes questions and answers none until this is dropped.
    pub fn hang(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.rows.lock().unwrap()
    }

    /// The next key that somebody asks for.
    pub fn asked(&self) -> String {
        self.asked.recv_timeout(PATIENCE).expect("nobody asks for a row")
    }
}

fn answer(mut stream: TcpStream, rows: &Rows, tell: &Sender<String>) {
    let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(line) = head.next() else { return };
    head.take_while(|line| !line.is_empty()).for_each(drop);
    let key = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let _ = tell.send(key.clone());
    let row = rows.lock().unwrap().get(&key).map(Value::to_string);
    let (status, body) = row.map_or(("404 Not Found", String::new()), |row| ("200 OK", row));
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
}
