//! Which records the rules about times select.

use diesel::QueryResult;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Nullable};

use super::statement::Dialect;
use crate::model::retention::PruneRequest;

/// The condition on a row of `sessions`, which may be true, false or NULL. A time that is not given selects nothing, and
/// the last event is not looked up in vain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doomed<'a> {
    pub(crate) by: &'a PruneRequest,
}

impl<DB> QueryFragment<DB> for Doomed<'_>
where
    DB: Dialect + HasSqlType<BigInt>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("(destroyed_at < ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.by.destroyed_before)?;
        out.push_sql(" OR created_at < ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.by.created_before)?;
        out.push_sql(" OR CASE WHEN created_at < ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.by.inactive_before)?;
        out.push_sql(" THEN coalesce(destroyed_at < ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.by.inactive_before)?;
        out.push_sql(", true) AND NOT coalesce((SELECT e.created_at >= ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.by.inactive_before)?;
        for part in [" FROM ", DB::EVENTS, " AS e WHERE e.session_id = sessions.id ", DB::LAST, "), false) END)"] {
            out.push_sql(part);
        }
        Ok(())
    }
}
