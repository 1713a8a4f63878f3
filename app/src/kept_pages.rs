//! Finished pages that are given again for as long as what they were made of is the same. Whether it is, is looked up for every
//! request, but for all that wait together: a look counts for a request only if it began after that had come. So whoever has
//! changed something sees it on the next page, also if it was changed through another server. It knows no rows and no URLs.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::HttpError;
use crate::views::Page;

/// Pages kept, and bytes of them; those that were asked for last.
const MAX_PAGES: usize = 48;
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// A look that takes longer holds up the next one no more.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often a look lets all that is ready go first.
const MAX_YIELDS: u32 = 8;

type Answer = Result<Page, HttpError>;

/// Who makes pages, and can tell cheaper than that whether one is still what it would make.
pub trait Maker: Send + Sync + 'static {
    type Address: Clone + Eq + Hash + Send + Sync + 'static;
    /// Of all that a page was made of: where it is the same, so is the page.
    type Stamp: Clone + Eq + Send + Sync + 'static;

    fn stamp(&self, address: &Self::Address) -> impl Future<Output = Result<Self::Stamp, HttpError>> + Send;
    fn page(&self, address: &Self::Address) -> impl Future<Output = Result<(Self::Stamp, Page), HttpError>> + Send;
}

pub struct KeptPages<M: Maker>(Arc<Shelf<M>>);

impl<M: Maker> KeptPages<M> {
    pub fn new(maker: M) -> Self {
        Self(Arc::new(Shelf { maker, places: Mutex::default() }))
    }

    pub fn maker(&self) -> &M {
        &self.0.maker
    }

    /// The page as it is at some moment after the call.
    pub async fn get(&self, address: M::Address) -> Answer {
        let place = self.0.place(address);
        let (sender, receiver) = oneshot::channel();
        let nobody_looks = {
            let mut state = place.state();
            state.waiting.push(sender);
            !std::mem::replace(&mut state.somebody_looks, true)
        };
        if nobody_looks {
            look(self.0.clone(), place);
        }
        receiver.await.unwrap_or_else(|_| Err(HttpError::internal("making a page has panicked")))
    }
}

struct Shelf<M: Maker> {
    maker: M,
    places: Mutex<Places<M>>,
}

struct Places<M: Maker> {
    taken: HashMap<M::Address, Taken<M>>,
    /// Grows with each request.
    now: u64,
}

struct Taken<M: Maker> {
    place: Arc<Place<M>>,
    asked_for: u64,
    bytes: usize,
}

/// Of one address.
struct Place<M: Maker> {
    address: M::Address,
    state: Mutex<State<M>>,
}

struct State<M: Maker> {
    kept: Option<(M::Stamp, Page)>,
    /// For a look that has not begun.
    waiting: Vec<oneshot::Sender<Answer>>,
    somebody_looks: bool,
}

impl<M: Maker> Place<M> {
    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who waits, as soon as nobody joins them any more while what is ready is done: requests that have come at the same time,
    /// and the next ones of those who are just being answered.
    async fn joined(&self) -> Vec<oneshot::Sender<Answer>> {
        let mut there = 0;
        for _ in 0..MAX_YIELDS {
            tokio::task::yield_now().await;
            let now = self.state().waiting.len();
            if now == there {
                break;
            }
            there = now;
        }
        std::mem::take(&mut self.state().waiting)
    }
}

impl<M: Maker> Shelf<M> {
    fn places(&self) -> MutexGuard<'_, Places<M>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, address: M::Address) -> Arc<Place<M>> {
        let mut places = self.places();
        places.now += 1;
        let now = places.now;
        if let Some(taken) = places.taken.get_mut(&address) {
            taken.asked_for = now;
            return taken.place.clone();
        }
        let state = State { kept: None, waiting: Vec::new(), somebody_looks: false };
        let place = Arc::new(Place { address: address.clone(), state: Mutex::new(state) });
        places.taken.insert(address, Taken { place: place.clone(), asked_for: now, bytes: 0 });
        places.make_room();
        place
    }

    async fn answer(&self, place: &Place<M>) -> Answer {
        let kept = place.state().kept.clone();
        if let Some((stamp, page)) = kept
            && self.maker.stamp(&place.address).await? == stamp
        {
            return Ok(page);
        }
        let (stamp, page) = self.maker.page(&place.address).await?;
        place.state().kept = Some((stamp, page.clone()));
        let mut places = self.places();
        // Another place has the address by now where this one had to make room.
        if let Some(taken) = places.taken.get_mut(&place.address)
            && std::ptr::eq(&raw const *taken.place, place)
        {
            taken.bytes = page.body.len();
            places.make_room();
        }
        Ok(page)
    }
}

impl<M: Maker> Default for Places<M> {
    fn default() -> Self {
        Self { taken: HashMap::new(), now: 0 }
    }
}

impl<M: Maker> Places<M> {
    fn bytes(&self) -> usize {
        self.taken.values().map(|taken| taken.bytes).sum()
    }

    /// Who waits at a place that is given up is answered all the same.
    fn make_room(&mut self) {
        while self.taken.len() > MAX_PAGES || (self.bytes() > MAX_BYTES && self.taken.len() > 1) {
            let oldest = self.taken.iter().min_by_key(|(_, taken)| taken.asked_for);
            let Some(oldest) = oldest.map(|(address, _)| address.clone()) else { return };
            self.taken.remove(&oldest);
        }
    }
}

/// In a task of its own, so that it ends whoever goes away.
fn look<M: Maker>(shelf: Arc<Shelf<M>>, place: Arc<Place<M>>) {
    tokio::spawn(async move {
        let turn = Turn { shelf: shelf.clone(), place: place.clone() };
        let waiting = place.joined().await;
        let mut answering = pin!(async {
            let answer = shelf.answer(&place).await;
            for waiter in waiting {
                let _ = waiter.send(answer.clone());
            }
        });
        if tokio::time::timeout(PATIENCE, &mut answering).await.is_err() {
            drop(turn);
            answering.await;
        }
    });
}

/// Whose end is the beginning of the next look, if somebody waits for one; also where it ends in a panic.
struct Turn<M: Maker> {
    shelf: Arc<Shelf<M>>,
    place: Arc<Place<M>>,
}

impl<M: Maker> Drop for Turn<M> {
    fn drop(&mut self) {
        let mut state = self.place.state();
        if state.waiting.is_empty() {
            state.somebody_looks = false;
        } else {
            drop(state);
            look(self.shelf.clone(), self.place.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use axum::http::StatusCode;
    use futures::future::join_all;
    use tokio::sync::watch;

    use super::*;
    use crate::views;

    /// Pages of a number, which is read when a look begins; looks end when they may.
    struct Numbers {
        number: AtomicU64,
        looks: AtomicUsize,
        made: AtomicUsize,
        held: watch::Sender<bool>,
        /// Of a look: 1 fails, 2 panics.
        fault: AtomicU64,
        size: usize,
    }

    impl Numbers {
        fn kept(size: usize) -> Arc<KeptPages<Self>> {
            let (number, fault) = (AtomicU64::new(1), AtomicU64::new(0));
            let (looks, made, held) = (AtomicUsize::new(0), AtomicUsize::new(0), watch::Sender::new(false));
            Arc::new(KeptPages::new(Self { number, looks, made, held, fault, size }))
        }

        async fn look(&self) -> Result<u64, HttpError> {
            let number = self.number.load(Ordering::SeqCst);
            self.looks.fetch_add(1, Ordering::SeqCst);
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            match self.fault.load(Ordering::SeqCst) {
                0 => Ok(number),
                1 => Err(HttpError::unavailable("away")),
                _ => panic!("a look that panics"),
            }
        }
    }

    impl Maker for Numbers {
        type Address = u64;
        type Stamp = u64;

        async fn stamp(&self, _: &u64) -> Result<u64, HttpError> {
            self.look().await
        }

        async fn page(&self, _: &u64) -> Result<(u64, Page), HttpError> {
            let number = self.look().await?;
            self.made.fetch_add(1, Ordering::SeqCst);
            Ok((number, views::plain_page(format!("{number}{}", " ".repeat(self.size)))))
        }
    }

    async fn shown(pages: &KeptPages<Numbers>) -> u64 {
        let page = pages.get(0).await.unwrap();
        std::str::from_utf8(&page.body).unwrap().trim().parse().unwrap()
    }

    /// Goes on when so many looks have begun.
    async fn looks(pages: &KeptPages<Numbers>, count: usize) {
        while pages.maker().looks.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_page_is_made_once_until_what_it_is_made_of_changes() {
        let pages = Numbers::kept(0);
        for _ in 0..3 {
            assert_eq!(shown(&pages).await, 1);
        }
        pages.maker().number.store(2, Ordering::SeqCst);
        assert_eq!(shown(&pages).await, 2);
        assert_eq!(pages.maker().made.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_look_that_began_before_a_request_came_does_not_count_for_it() {
        let pages = Numbers::kept(0);
        assert_eq!(shown(&pages).await, 1);
        pages.maker().held.send_replace(true);
        let early = tokio::spawn({
            let pages = pages.clone();
            async move { shown(&pages).await }
        });
        looks(&pages, 2).await;
        pages.maker().number.store(2, Ordering::SeqCst);
        let release = async {
            tokio::task::yield_now().await;
            pages.maker().held.send_replace(false);
        };
        let (late, ()) = tokio::join!(shown(&pages), release);
        assert_eq!((early.await.unwrap(), late), (1, 2));
    }

    #[tokio::test]
    async fn all_who_wait_share_a_look_and_one_who_goes_away_takes_it_from_nobody() {
        let pages = Numbers::kept(0);
        pages.maker().held.send_replace(true);
        let mut first = Box::pin(pages.get(0));
        assert!(futures::poll!(&mut first).is_pending());
        looks(&pages, 1).await;
        let mut others: Vec<_> = (0..100).map(|_| Box::pin(pages.get(0))).collect();
        for other in &mut others {
            assert!(futures::poll!(other).is_pending());
        }
        drop(first);
        others.drain(..50);
        pages.maker().held.send_replace(false);
        assert!(join_all(others).await.iter().all(Result::is_ok));
        assert_eq!(pages.maker().looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failure_and_a_panic_reach_all_who_wait_and_nobody_after_them() {
        let pages = Numbers::kept(0);
        for (fault, status) in [(1, StatusCode::SERVICE_UNAVAILABLE), (2, StatusCode::INTERNAL_SERVER_ERROR)] {
            for kept in [false, true] {
                pages.maker().fault.store(fault, Ordering::SeqCst);
                let failed = join_all((0..20).map(|_| pages.get(u64::from(kept)))).await;
                assert!(failed.iter().all(|answer| answer.as_ref().unwrap_err().status == status), "{failed:?}");
                pages.maker().fault.store(0, Ordering::SeqCst);
                assert!(pages.get(u64::from(kept)).await.is_ok());
            }
        }
    }

    #[tokio::test]
    async fn a_look_that_hangs_holds_up_the_next_for_a_moment_only() {
        let pages = Numbers::kept(0);
        pages.maker().held.send_replace(true);
        let (mut hangs, mut waits) = (Box::pin(pages.get(0)), Box::pin(pages.get(0)));
        assert!(futures::poll!(&mut hangs).is_pending());
        looks(&pages, 1).await;
        assert!(futures::poll!(&mut waits).is_pending());
        looks(&pages, 2).await;
        pages.maker().held.send_replace(false);
        assert!(hangs.await.is_ok() && waits.await.is_ok());
    }

    #[tokio::test]
    async fn no_more_pages_and_bytes_are_kept_than_there_is_room_for() {
        for size in [0, MAX_BYTES / 10, MAX_BYTES] {
            let pages = Numbers::kept(size);
            let mut asked = HashSet::new();
            for at in 0..3 * MAX_PAGES as u64 {
                // One is asked for again and again, and stays.
                for address in [at, 1_000_000] {
                    assert!(pages.get(address).await.is_ok());
                    asked.insert(address);
                    let places = pages.0.places();
                    assert!(places.taken.len() <= MAX_PAGES);
                    assert!(places.bytes() <= MAX_BYTES || places.taken.len() == 1, "{} bytes", places.bytes());
                }
            }
            let made = pages.maker().made.load(Ordering::SeqCst);
            assert!(size == MAX_BYTES || made == asked.len(), "of {size} bytes {made} were made");
        }
    }
}
