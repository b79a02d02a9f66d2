//! The app behind webhooks.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;

/// What an app was sent.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Taken {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

/// How an app answers.
#[derive(Clone, Debug)]
struct Behaviour {
    status: u16,
    content_type: &'static str,
    body: &'static str,
    after: Duration,
}

/// The app behind: it answers as it is told and keeps what it was sent.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    pub(crate) taken: Arc<Mutex<Vec<Taken>>>,
    is_gone: Arc<AtomicBool>,
}

impl App {
    pub(crate) fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::default())
    }

    pub(crate) fn start_at(address: SocketAddr, taken: Arc<Mutex<Vec<Taken>>>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let app = Self {
            address: listener.local_addr().unwrap(),
            behaviour: Arc::new(Mutex::new(Behaviour {
                status: 200,
                content_type: "text/plain",
                body: "",
                after: Duration::ZERO,
            })),
            taken,
            is_gone: Arc::default(),
        };
        let (behaviour, taken, is_gone) =
            (app.behaviour.clone(), app.taken.clone(), app.is_gone.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_gone.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (behaviour, taken) = (behaviour.lock().clone(), taken.clone());
                thread::spawn(move || serve(&stream, &behaviour, &taken));
            }
        });
        app
    }

    /// Nobody listens there any more; what was taken stays.
    pub(crate) fn stop(&self) {
        self.is_gone.store(true, Ordering::SeqCst);
        // Wakes the thread that listens.
        drop(TcpStream::connect(self.address));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().clone()
    }

    pub(crate) fn answers(&self, status: u16) {
        self.behaviour.lock().status = status;
    }

    /// Answers with this, after a while.
    pub(crate) fn says(&self, content_type: &'static str, body: &'static str, after: Duration) {
        let mut behaviour = self.behaviour.lock();
        *behaviour = Behaviour { content_type, body, after, ..behaviour.clone() };
    }
}

fn serve(stream: &TcpStream, behaviour: &Behaviour, taken: &Mutex<Vec<Taken>>) {
    let mut reader = BufReader::new(stream);
    let mut headers = HashMap::new();
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        assert!(headers.insert(name.to_lowercase(), value.to_owned()).is_none(), "{name} twice");
    }
    let length = headers.get("content-length").map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let Behaviour { status, content_type, body: said, after } = behaviour;
    if *status < 300 {
        taken.lock().push(Taken { headers, body });
    }
    thread::sleep(*after);
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} x\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
        said.len()
    );
}
