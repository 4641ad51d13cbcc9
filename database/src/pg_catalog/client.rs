//! Questions of stock clients that our SQL does not answer as they are written, and equal ones that
//! it answers.
//!
//! psql's `\d` asks about policies, extended statistics, publications, triggers and partitions in SQL
//! with arrays and functions that return sets. We have none of these things, so that the answer is
//! known: no rows, with the columns that psql reads. pgbench asks for partitions through LATERAL.
//! Invariant: a question is rewritten only after our SQL refused it, and only into one that PostgreSQL
//! answers alike for a database without these things.

/// What a question contains; the equal question, where `{oid}` is the oid that was asked about.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "FROM pg_catalog.pg_policy pol",
        "SELECT ''::text AS polname, true AS polpermissive, ''::text AS array_to_string, \
         ''::text AS pg_get_expr, ''::text AS pg_get_expr, ''::text AS cmd WHERE false",
    ),
    (
        "FROM pg_catalog.pg_statistic_ext",
        "SELECT 0 AS oid, ''::text AS stxrelid, ''::text AS nsp, ''::text AS stxname, \
         ''::text AS columns, true AS ndist_enabled, true AS deps_enabled, true AS mcv_enabled, \
         0 AS stxstattarget WHERE false",
    ),
    (
        "FROM pg_catalog.pg_publication p",
        "SELECT ''::text AS pubname, ''::text AS c2, ''::text AS c3 WHERE false",
    ),
    (
        "FROM pg_catalog.pg_trigger t",
        "SELECT ''::text AS tgname, ''::text AS pg_get_triggerdef, ''::text AS tgenabled, \
         false AS tgisinternal, ''::text AS parent WHERE false",
    ),
    (
        "FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i WHERE c.oid = i.inhparent",
        "SELECT ''::text AS oid WHERE false",
    ),
    (
        "FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i WHERE c.oid = i.inhrelid",
        "SELECT ''::text AS oid, ''::text AS relkind, false AS inhdetachpending, \
         ''::text AS pg_get_expr WHERE false",
    ),
    (
        "confrelid IN (SELECT pg_catalog.pg_partition_ancestors(",
        "SELECT conname, conrelid::pg_catalog.regclass AS ontable, \
         pg_catalog.pg_get_constraintdef(oid, true) AS condef FROM pg_catalog.pg_constraint c \
         WHERE confrelid = {oid} AND contype = 'f' ORDER BY conname",
    ),
    (
        "ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m",
        "SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, \
         r.rolconnlimit, r.rolvaliduntil, '{}'::text AS memberof, r.rolreplication, r.rolbypassrls \
         FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1",
    ),
    (
        "left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid)",
        "SELECT 1 AS n, NULL::text AS partstrat, 0::bigint AS count FROM pg_catalog.pg_class c \
         WHERE c.relname = 'pgbench_accounts' AND pg_catalog.pg_table_is_visible(c.oid)",
    ),
];

/// An equal question, if this is one of those that are known.
pub fn equal_question(text: &str) -> Option<String> {
    // Clients break lines for people; the words are what is known.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, equal) = QUESTIONS.iter().find(|(part, _)| words.contains(part))?;
    if !equal.contains("{oid}") {
        return Some((*equal).to_owned());
    }
    let (_, after) = words.split_once("pg_partition_ancestors('")?;
    let (oid, _) = after.split_once('\'')?;
    let oid: u32 = oid.parse().ok()?;
    Some(equal.replace("{oid}", &oid.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_psql_and_pgbench_ask() {
        let asked = "SELECT conname, conrelid::pg_catalog.regclass AS ontable,\n       \
                     pg_catalog.pg_get_constraintdef(oid, true) AS condef\n  \
                     FROM pg_catalog.pg_constraint c\n WHERE confrelid IN \
                     (SELECT pg_catalog.pg_partition_ancestors('16384')\n UNION ALL VALUES \
                     ('16384'::pg_catalog.regclass))\n AND contype = 'f' AND conparentid = 0";
        let equal = equal_question(asked).unwrap();
        assert!(equal.contains("confrelid = 16384 AND"), "{equal}");
        let injected = asked.replace("16384", "1' OR 'a");
        // Only the digits before the quote are taken over.
        let equal = equal_question(&injected).unwrap();
        assert!(equal.contains("confrelid = 1 AND"), "{equal}");
        assert_eq!(equal_question("select 1"), None);
    }
}
