//! What a merchant has, as its API reads it: one thing by its id, and all of a kind in pages, the newest first. What is
//! another's is as good as none.

use crate::{
    app::App,
    db::{
        Conn, DbError, addresses, corrections,
        deliveries::{self, DeliveryState},
        endpoints, events, invoices, payments, transfers,
    },
    domain::{
        id::{AddressId, CorrectionId, DeliveryId, EndpointId, EventId, InvoiceId, PaymentId, TransferId},
        invoice::Invoice,
        tenant::Tenant,
    },
};

/// Where a page begins, as the id that its rows are below, and their maximum number.
pub(crate) type Span<I> = (I, i64);

/// Error of reading what has an id.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("there is no such {0}")]
    Missing(&'static str),
}

/// A kind of things that each have an id.
pub(crate) trait Resource: Sized {
    type Id: Sync;
    const NAME: &'static str;

    fn by_id(
        conn: &mut Conn,
        tenant: &Tenant,
        id: &Self::Id,
    ) -> impl Future<Output = Result<Option<Self>, DbError>> + Send;
}

/// A kind of things that are listed in pages.
pub(crate) trait Listed: Sized {
    /// What a list may be narrowed to.
    type Filter: Send;
    type Id: Send;

    fn page(
        conn: &mut Conn,
        tenant: &Tenant,
        filter: Self::Filter,
        span: Span<Self::Id>,
    ) -> impl Future<Output = Result<Vec<Self>, DbError>> + Send;
}

/// Reads one thing within a transaction.
pub(super) async fn found<R: Resource>(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &R::Id,
) -> Result<R, LookupError> {
    R::by_id(conn, tenant, id).await?.ok_or(LookupError::Missing(R::NAME))
}

/// Reads one thing.
pub(crate) async fn get<R: Resource>(app: &App, tenant: &Tenant, id: &R::Id) -> Result<R, LookupError> {
    found(&mut app.db.read().await?, tenant, id).await
}

/// Reads a page.
pub(crate) async fn list<R: Listed>(
    app: &App,
    tenant: &Tenant,
    filter: R::Filter,
    span: Span<R::Id>,
) -> Result<Vec<R>, DbError> {
    R::page(&mut app.db.read().await?, tenant, filter, span).await
}

macro_rules! resource {
    ($name:literal, $row:ty, $id:ty, $get:path) => {
        impl Resource for $row {
            type Id = $id;
            const NAME: &'static str = $name;

            async fn by_id(conn: &mut Conn, tenant: &Tenant, id: &$id) -> Result<Option<Self>, DbError> {
                $get(conn, tenant, id).await
            }
        }
    };
}

/// The last of its arguments are what the query takes between the tenant and the span.
macro_rules! listed {
    ($row:ty, $id:ty, $filter:ty, |$only:pat_param| $list:path, $($argument:expr),*) => {
        impl Listed for $row {
            type Filter = $filter;
            type Id = $id;

            async fn page(
                conn: &mut Conn,
                tenant: &Tenant,
                $only: $filter,
                (before, rows): Span<$id>,
            ) -> Result<Vec<Self>, DbError> {
                $list(conn, tenant, $($argument,)* before, rows).await
            }
        }
    };
}

resource!("receive address", addresses::ReceiveAddress, AddressId, addresses::get);
resource!("delivery", deliveries::Delivery, DeliveryId, deliveries::get);
resource!("endpoint", endpoints::Endpoint, EndpointId, endpoints::get);
resource!("event", events::Event, EventId, events::get);
resource!("invoice", Invoice, InvoiceId, invoices::get);
resource!("payment", payments::Listed, PaymentId, payments::get);
resource!("transfer", transfers::Listed, TransferId, transfers::get);

type OfDeliveries = (deliveries::Of, Option<DeliveryState>);

listed!(addresses::ReceiveAddress, AddressId, (), |()| addresses::list,);
listed!(corrections::Listed, CorrectionId, corrections::Of, |of| corrections::list, of);
listed!(deliveries::Delivery, DeliveryId, OfDeliveries, |(of, state)| deliveries::list, of, state);
listed!(endpoints::Endpoint, EndpointId, (), |()| endpoints::list,);
listed!(events::Event, EventId, Option<InvoiceId>, |invoice_id| events::list, invoice_id);
listed!(Invoice, InvoiceId, invoices::Of, |of| invoices::list, of);
listed!(payments::Listed, PaymentId, Option<InvoiceId>, |invoice_id| payments::list, invoice_id.as_ref());
listed!(transfers::Listed, TransferId, transfers::Filter, |filter| transfers::list, &filter);
