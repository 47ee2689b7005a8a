//! Bars of the past for whoever asks: fetched, read and written on a thread of their own, so that a thousand rows of JSON
//! delay no order.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, error};

use crate::alpaca::Credential;
use crate::alpaca::data::{History, HistoryError};
use crate::bus::service::{Answer, Refused};
use crate::clock::Clock;
use crate::wire::history::{PageRequest, reply};

/// Pages that are fetched at once. The venue's quota is one of a minute, and shared by all of them.
const AT_ONCE: usize = 4;
/// Pages that wait.
const WAITING_MAX: usize = 32;

/// Answers questions for bars. The thread begins with the first one.
pub struct HistoryDesk {
    base_url: String,
    credential: Credential,
    clock: Clock,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// One page, and who waits for it.
struct Job {
    page: PageRequest,
    json: bool,
    answer: oneshot::Sender<Result<Answer, Refused>>,
}

impl HistoryDesk {
    /// Asks this address. Connects to nothing yet.
    pub fn new(base_url: String, credential: Credential, clock: Clock) -> Self {
        Self {
            base_url,
            credential,
            clock,
            jobs: Mutex::new(None),
        }
    }

    /// One page of bars, written for whoever asked.
    pub async fn page(&self, page: PageRequest, json: bool) -> Result<Answer, Refused> {
        let (answer, answered) = oneshot::channel();
        let job = Job { page, json, answer };
        let full = |_| Refused {
            code: 429,
            message: format!("{WAITING_MAX} pages wait already; ask again in a second"),
        };
        self.jobs()?.try_send(job).map_err(full)?;
        answered.await.unwrap_or_else(|_| {
            Err(Refused {
                code: 500,
                message: "the question was lost; ask again".to_owned(),
            })
        })
    }

    /// The way to the thread, which is started when there is none.
    fn jobs(&self) -> Result<mpsc::Sender<Job>, Refused> {
        // Nothing panics while it holds the lock.
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = jobs.as_ref().filter(|jobs| !jobs.is_closed()) {
            return Ok(jobs.clone());
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (base_url, credential, clock) =
            (self.base_url.clone(), self.credential.clone(), self.clock.clone());
        let started = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                if let Err(error) = run(&base_url, credential, clock, receiver) {
                    error!(%error, "history is not served");
                }
            });
        match started {
            Ok(_detached) => Ok(jobs.insert(sender).clone()),
            Err(error) => Err(Refused {
                code: 500,
                message: format!("no thread could be started: {error}"),
            }),
        }
    }
}

/// Works until nobody can ask any more.
fn run(
    base_url: &str,
    credential: Credential,
    clock: Clock,
    mut jobs: mpsc::Receiver<Job>,
) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let history = History::new(base_url, credential)?;
    runtime.block_on(async {
        let mut at_work = JoinSet::new();
        loop {
            tokio::select! {
                // Cancel-safe, both: docs.
                job = jobs.recv(), if at_work.len() < AT_ONCE => match job {
                    Some(job) => {
                        at_work.spawn(work(history.clone(), clock.clone(), job));
                    }
                    None => return,
                },
                Some(_) = at_work.join_next() => {}
            }
        }
    });
    Ok(())
}

async fn work(history: History, clock: Clock, mut job: Job) {
    let PageRequest {
        question,
        limit,
        page_token,
    } = &job.page;
    let fetched = tokio::select! {
        fetched = history.bars(question, *limit, page_token) => fetched,
        // Whoever asked has gone: the daemon does not lead any more.
        () = job.answer.closed() => return,
    };
    let class = question.class();
    let answer = match fetched {
        Ok((bars, next)) => Answer::new(reply(class, bars, &next), job.json),
        Err(error) => {
            debug!(%error, class = class.as_str(), "bars of the past could not be had");
            Err(refused(&error, &clock))
        }
    };
    // Nobody waits any more.
    let _ = job.answer.send(answer);
}

/// What went wrong at the venue, for whoever asked: theirs to mend, or worth another try.
fn refused(error: &HistoryError, clock: &Clock) -> Refused {
    let (code, message) = match error {
        HistoryError::TooOften { again_at } => {
            let seconds = again_at.map_or(60, |at| at.duration_since(clock.now()).as_secs().clamp(1, 60));
            (429, format!("{error}; ask again in {seconds} s"))
        }
        HistoryError::NotAllowed(_) => (403, error.to_string()),
        HistoryError::Wrong(_) => (400, error.to_string()),
        HistoryError::Failed(_) => (503, error.to_string()),
    };
    Refused { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_venue_says_is_passed_on_with_a_number_to_act_by() {
        let clock = Clock::system();
        let words = || "subscription does not permit querying recent SIP data".to_owned();
        let too_often = |again_at| HistoryError::TooOften { again_at };
        for (error, code, said) in [
            (HistoryError::NotAllowed(words()), 403, "recent SIP data"),
            (HistoryError::Wrong(words()), 400, "recent SIP data"),
            (too_often(None), 429, "in 60 s"),
            (too_often(Some(clock.now())), 429, "in 1 s"),
            (HistoryError::Failed("cut off".to_owned()), 503, "cut off"),
        ] {
            let refused = refused(&error, &clock);
            assert_eq!(refused.code, code);
            assert!(refused.message.contains(said), "{}", refused.message);
        }
    }
}
