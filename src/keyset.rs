//! The comparison behind every cursor: `(a, b) > (x, y)`, which SQLite answers with one seek in an index on `(a, b)`.

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Bool;

/// `(left.0, left.1) > (right.0, right.1)`; Diesel has no row values of its own for SQLite.
#[derive(Clone, Copy, Debug, QueryId, ValidGrouping)]
pub(crate) struct RowAfter<A, B, X, Y> {
    left: (A, B),
    right: (X, Y),
}

/// Rows that come after the given position, in the order of the two columns.
pub(crate) fn row_after<A, B, X, Y>(left: (A, B), right: (X, Y)) -> RowAfter<A, B, X::Expression, Y::Expression>
where
    A: Expression<SqlType: diesel::sql_types::SqlType + diesel::expression::TypedExpressionType>,
    B: Expression<SqlType: diesel::sql_types::SqlType + diesel::expression::TypedExpressionType>,
    X: diesel::expression::AsExpression<A::SqlType>,
    Y: diesel::expression::AsExpression<B::SqlType>,
{
    RowAfter { left, right: (right.0.as_expression(), right.1.as_expression()) }
}

impl<A, B, X, Y> Expression for RowAfter<A, B, X, Y>
where
    A: Expression,
    B: Expression,
    X: Expression<SqlType = A::SqlType>,
    Y: Expression<SqlType = B::SqlType>,
{
    type SqlType = Bool;
}

impl<A, B, X, Y, DB> QueryFragment<DB> for RowAfter<A, B, X, Y>
where
    DB: Backend,
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
        out.push_sql(") > (");
        self.right.0.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        self.right.1.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

impl<A, B, X, Y, QS> AppearsOnTable<QS> for RowAfter<A, B, X, Y>
where
    Self: Expression,
    A: AppearsOnTable<QS>,
    B: AppearsOnTable<QS>,
    X: AppearsOnTable<QS>,
    Y: AppearsOnTable<QS>,
{
}

impl<A, B, X, Y, QS> SelectableExpression<QS> for RowAfter<A, B, X, Y>
where
    Self: AppearsOnTable<QS>,
    A: SelectableExpression<QS>,
    B: SelectableExpression<QS>,
    X: SelectableExpression<QS>,
    Y: SelectableExpression<QS>,
{
}
