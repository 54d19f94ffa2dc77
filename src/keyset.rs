//! The comparison behind every cursor: `(a, b) > (x, y)`, which SQLite answers with one seek in an index on `(a, b)`,
//! and its reverse.

use diesel::backend::Backend;
use diesel::expression::{
    AppearsOnTable, AsExpression, Expression, SelectableExpression, TypedExpressionType, ValidGrouping,
};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, SqlType};

/// A condition of every row that holds in a database in UTF-8, where texts are compared by the bytes of that. Elsewhere
/// it is an error, which [`is_of_other_order`] knows. It is decided once, before the first row.
#[derive(Clone, Copy, Debug, QueryId, ValidGrouping)]
pub(crate) struct InUtf8;

impl Expression for InUtf8 {
    type SqlType = Bool;
}

impl<DB: Backend> QueryFragment<DB> for InUtf8 {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        // The order of these two tells UTF-8 from UTF-16.
        out.push_sql("CASE WHEN '\u{10000}' > '\u{fffd}' THEN 1 ELSE abs(-9223372036854775808) END");
        Ok(())
    }
}

impl<QS> AppearsOnTable<QS> for InUtf8 {}

impl<QS> SelectableExpression<QS> for InUtf8 {}

/// Whether a statement failed because the database compares texts in another way than by their UTF-8.
pub(crate) fn is_of_other_order(error: &diesel::result::Error) -> bool {
    matches!(error, diesel::result::Error::DatabaseError(_, information) if information.message() == "integer overflow")
}

/// Which side of a position the rows are on.
pub(crate) trait Side {
    fn operator(&self) -> &'static str;
}

#[derive(Clone, Copy, Debug, QueryId, ValidGrouping)]
pub(crate) struct After;

#[derive(Clone, Copy, Debug, QueryId, ValidGrouping)]
pub(crate) struct Before;

impl Side for After {
    fn operator(&self) -> &'static str {
        ") > ("
    }
}

impl Side for Before {
    fn operator(&self) -> &'static str {
        ") < ("
    }
}

/// `(left.0, left.1) > (right.0, right.1)`, or `<`; Diesel has no row values of its own for SQLite.
#[derive(Clone, Copy, Debug, QueryId, ValidGrouping)]
pub(crate) struct RowCompared<S, A, B, X, Y> {
    side: S,
    left: (A, B),
    right: (X, Y),
}

/// Rows that come after the given position, or before it, in the order of the two columns.
pub(crate) fn row_compared<S, A, B, X, Y>(
    side: S,
    left: (A, B),
    right: (X, Y),
) -> RowCompared<S, A, B, X::Expression, Y::Expression>
where
    A: Expression<SqlType: SqlType + TypedExpressionType>,
    B: Expression<SqlType: SqlType + TypedExpressionType>,
    X: AsExpression<A::SqlType>,
    Y: AsExpression<B::SqlType>,
{
    RowCompared { side, left, right: (right.0.as_expression(), right.1.as_expression()) }
}

impl<S, A, B, X, Y> Expression for RowCompared<S, A, B, X, Y>
where
    A: Expression,
    B: Expression,
    X: Expression<SqlType = A::SqlType>,
    Y: Expression<SqlType = B::SqlType>,
{
    type SqlType = Bool;
}

impl<S, A, B, X, Y, DB> QueryFragment<DB> for RowCompared<S, A, B, X, Y>
where
    DB: Backend,
    S: Side,
    A: QueryFragment<DB>,
    B: QueryFragment<DB>,
    X: QueryFragment<DB>,
    Y: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("(");
        self.left.0.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        self.left.1.walk_ast(out.reborrow())?;
        out.push_sql(self.side.operator());
        self.right.0.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        self.right.1.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

impl<S, A, B, X, Y, QS> AppearsOnTable<QS> for RowCompared<S, A, B, X, Y>
where
    Self: Expression,
    A: AppearsOnTable<QS>,
    B: AppearsOnTable<QS>,
    X: AppearsOnTable<QS>,
    Y: AppearsOnTable<QS>,
{
}

impl<S, A, B, X, Y, QS> SelectableExpression<QS> for RowCompared<S, A, B, X, Y>
where
    Self: AppearsOnTable<QS>,
    A: SelectableExpression<QS>,
    B: SelectableExpression<QS>,
    X: SelectableExpression<QS>,
    Y: SelectableExpression<QS>,
{
}
