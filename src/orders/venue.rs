//! What this desk needs of the venue, and no more. Tests put a scripted venue behind it.

use crate::alpaca::rest::{CancelAnswer, Client, LastCheck, LookUpAnswer, ReadError, SubmitAnswer};
use crate::alpaca::{Lane, Pacer, Permit};
use crate::domain::{ClientOrderId, Order, OrderId, Placement, Position};

/// A venue that takes orders.
pub trait Venue: Send + Sync + 'static {
    /// The account's request budget.
    fn pacer(&self) -> &Pacer;

    /// One POST, or one PATCH, nothing else; and not even that if the check says no before its first byte is written.
    fn submit(
        &self,
        permit: Permit,
        id: &ClientOrderId,
        asked: &Placement,
        check: LastCheck,
    ) -> impl Future<Output = SubmitAnswer> + Send;

    /// Asks for an order by our id.
    fn find(&self, id: &ClientOrderId) -> impl Future<Output = LookUpAnswer> + Send;

    /// Asks for an order by the venue's id.
    fn find_order(&self, id: OrderId) -> impl Future<Output = LookUpAnswer> + Send;

    /// Cancels one order.
    fn cancel(&self, id: OrderId) -> impl Future<Output = CancelAnswer> + Send;

    /// Every open order, for cancels of many.
    fn open_orders(&self) -> impl Future<Output = Result<Vec<Order>, ReadError>> + Send;

    /// Everything the account holds, for closing it.
    fn positions(&self) -> impl Future<Output = Result<Vec<Position>, ReadError>> + Send;
}

impl Venue for Client {
    fn pacer(&self) -> &Pacer {
        Self::pacer(self)
    }

    async fn submit(
        &self,
        permit: Permit,
        id: &ClientOrderId,
        asked: &Placement,
        check: LastCheck,
    ) -> SubmitAnswer {
        Self::submit(self, permit, id, asked, check).await
    }

    async fn find(&self, id: &ClientOrderId) -> LookUpAnswer {
        self.find_by_client_order_id(id.as_str()).await
    }

    async fn find_order(&self, id: OrderId) -> LookUpAnswer {
        self.find_by_order_id(id).await
    }

    async fn cancel(&self, id: OrderId) -> CancelAnswer {
        Self::cancel(self, id).await
    }

    async fn open_orders(&self) -> Result<Vec<Order>, ReadError> {
        Self::open_orders(self, Lane::Cancel).await
    }
    async fn positions(&self) -> Result<Vec<Position>, ReadError> {
        Self::positions(self, Lane::Change).await.map(|read| read.value)
    }
}
