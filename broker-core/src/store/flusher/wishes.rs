//! What the flusher's thread is wished to do, and how it sleeps until then.

use std::time::Duration;

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering};

#[derive(Default)]
pub struct Wishes {
    /// Set while a sync has been asked for and not begun: saves later appenders the lock.
    prompt_asked: AtomicBool,
    lazy_asked: AtomicBool,
    wished: Mutex<Wished>,
    changed: Condvar,
}

#[derive(Default)]
struct Wished {
    prompt: bool,
    lazy: bool,
    stop: bool,
}

impl Wishes {
    /// Something was published that shall be synced. `prompt`: somebody will wait for it.
    pub fn ask(&self, prompt: bool) {
        let asked = if prompt { &self.prompt_asked } else { &self.lazy_asked };
        // The thread swaps too, before it looks at the log's end: either its swap reads ours and so sees our bytes, or
        // ours comes later and asks again.
        if asked.swap(true, Ordering::AcqRel) {
            return;
        }
        self.wish(|wished| *(if prompt { &mut wished.prompt } else { &mut wished.lazy }) = true);
    }

    /// A sync that does not wait for others, of what may have been asked for less promptly.
    pub fn ask_at_once(&self) {
        self.wish(|wished| wished.prompt = true);
    }

    /// One last sync.
    pub fn stop(&self) {
        self.wish(|wished| wished.stop = true);
    }

    fn wish(&self, wish: impl FnOnce(&mut Wished)) {
        wish(&mut self.wished.lock().expect("nobody panics holding it"));
        self.changed.notify_one();
    }

    /// Sleeps until there is something to do now; what nobody waits for waits for others, so long at most. Says whether it
    /// is the last time. What was published before somebody asked can be seen when this returns.
    pub fn wait(&self, lazy_delay: Duration) -> bool {
        let wished = self.wished.lock().expect("nobody panics holding it");
        let wished = self
            .changed
            .wait_while(wished, |wished| !(wished.prompt || wished.lazy || wished.stop))
            .expect("nobody panics holding it");
        let (mut wished, _) = self
            .changed
            .wait_timeout_while(wished, lazy_delay, |wished| !(wished.prompt || wished.stop))
            .expect("nobody panics holding it");
        wished.prompt = false;
        wished.lazy = false;
        self.prompt_asked.swap(false, Ordering::AcqRel);
        self.lazy_asked.swap(false, Ordering::AcqRel);
        wished.stop
    }
}
