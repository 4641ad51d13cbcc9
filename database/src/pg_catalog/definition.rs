//! The catalog's tables with their columns, as PostgreSQL 15 has them.
//!
//! Invariant: names, order and types are those of PostgreSQL 15, so that what clients ask by name or by
//! place fits; `!` marks a column that is never NULL. Types are internal names (`int4`).
//! Source: <https://www.postgresql.org/docs/15/catalogs.html>.

/// Name, oid, columns.
pub(super) type Definition = (&'static str, u32, &'static str);

/// Schema `pg_catalog`.
#[rustfmt::skip]
pub(super) const PG_CATALOG: &[Definition] = &[
    ("pg_am", 2601, "\
        oid oid!, amname name!, amhandler regproc!, amtype char!"),
    ("pg_attrdef", 2604, "\
        oid oid!, adrelid oid!, adnum int2!, adbin pg_node_tree!"),
    ("pg_attribute", 1249, "\
        attrelid oid!, attname name!, atttypid oid!, attstattarget int4!, attlen int2!, \
        attnum int2!, attndims int4!, attcacheoff int4!, atttypmod int4!, attbyval bool!, \
        attalign char!, attstorage char!, attcompression char!, attnotnull bool!, \
        atthasdef bool!, atthasmissing bool!, attidentity char!, attgenerated char!, \
        attisdropped bool!, attislocal bool!, attinhcount int4!, attcollation oid!, \
        attacl _aclitem, attoptions _text, attfdwoptions _text, attmissingval text"),
    ("pg_auth_members", 1261, "\
        roleid oid!, member oid!, grantor oid!, admin_option bool!"),
    ("pg_cast", 2605, "\
        oid oid!, castsource oid!, casttarget oid!, castfunc oid!, castcontext char!, \
        castmethod char!"),
    ("pg_class", 1259, "\
        oid oid!, relname name!, relnamespace oid!, reltype oid!, reloftype oid!, \
        relowner oid!, relam oid!, relfilenode oid!, reltablespace oid!, relpages int4!, \
        reltuples float4!, relallvisible int4!, reltoastrelid oid!, relhasindex bool!, \
        relisshared bool!, relpersistence char!, relkind char!, relnatts int2!, \
        relchecks int2!, relhasrules bool!, relhastriggers bool!, relhassubclass bool!, \
        relrowsecurity bool!, relforcerowsecurity bool!, relispopulated bool!, \
        relreplident char!, relispartition bool!, relrewrite oid!, relfrozenxid xid!, \
        relminmxid xid!, relacl _aclitem, reloptions _text, relpartbound pg_node_tree"),
    ("pg_collation", 3456, "\
        oid oid!, collname name!, collnamespace oid!, collowner oid!, collprovider char!, \
        collisdeterministic bool!, collencoding int4!, collcollate text, collctype text, \
        colliculocale text, collversion text"),
    ("pg_constraint", 2606, "\
        oid oid!, conname name!, connamespace oid!, contype char!, condeferrable bool!, \
        condeferred bool!, convalidated bool!, conrelid oid!, contypid oid!, conindid oid!, \
        conparentid oid!, confrelid oid!, confupdtype char!, confdeltype char!, \
        confmatchtype char!, conislocal bool!, coninhcount int4!, connoinherit bool!, \
        conkey _int2, confkey _int2, conpfeqop _oid, conppeqop _oid, conffeqop _oid, \
        confdelsetcols _int2, conexclop _oid, conbin pg_node_tree"),
    ("pg_database", 1262, "\
        oid oid!, datname name!, datdba oid!, encoding int4!, datlocprovider char!, \
        datistemplate bool!, datallowconn bool!, datconnlimit int4!, datfrozenxid xid!, \
        datminmxid xid!, dattablespace oid!, datcollate text!, datctype text!, \
        daticulocale text, datcollversion text, datacl _aclitem"),
    ("pg_depend", 2608, "\
        classid oid!, objid oid!, objsubid int4!, refclassid oid!, refobjid oid!, \
        refobjsubid int4!, deptype char!"),
    ("pg_description", 2609, "\
        objoid oid!, classoid oid!, objsubid int4!, description text!"),
    ("pg_enum", 3501, "\
        oid oid!, enumtypid oid!, enumsortorder float4!, enumlabel name!"),
    ("pg_extension", 3079, "\
        oid oid!, extname name!, extowner oid!, extnamespace oid!, extrelocatable bool!, \
        extversion text!, extconfig _oid, extcondition _text"),
    ("pg_foreign_data_wrapper", 2328, "\
        oid oid!, fdwname name!, fdwowner oid!, fdwhandler oid!, fdwvalidator oid!, \
        fdwacl _aclitem, fdwoptions _text"),
    ("pg_foreign_server", 1417, "\
        oid oid!, srvname name!, srvowner oid!, srvfdw oid!, srvtype text, srvversion text, \
        srvacl _aclitem, srvoptions _text"),
    ("pg_foreign_table", 3118, "\
        ftrelid oid!, ftserver oid!, ftoptions _text"),
    ("pg_index", 2610, "\
        indexrelid oid!, indrelid oid!, indnatts int2!, indnkeyatts int2!, indisunique bool!, \
        indnullsnotdistinct bool!, indisprimary bool!, indisexclusion bool!, \
        indimmediate bool!, indisclustered bool!, indisvalid bool!, indcheckxmin bool!, \
        indisready bool!, indislive bool!, indisreplident bool!, indkey int2vector!, \
        indcollation oidvector!, indclass oidvector!, indoption int2vector!, \
        indexprs pg_node_tree, indpred pg_node_tree"),
    ("pg_indexes", 12043, "\
        schemaname name, tablename name, indexname name, tablespace name, indexdef text"),
    ("pg_inherits", 2611, "\
        inhrelid oid!, inhparent oid!, inhseqno int4!, inhdetachpending bool!"),
    ("pg_language", 2612, "\
        oid oid!, lanname name!, lanowner oid!, lanispl bool!, lanpltrusted bool!, \
        lanplcallfoid oid!, laninline oid!, lanvalidator oid!, lanacl _aclitem"),
    ("pg_matviews", 12038, "\
        schemaname name, matviewname name, matviewowner name, tablespace name, hasindexes bool, \
        ispopulated bool, definition text"),
    ("pg_namespace", 2615, "\
        oid oid!, nspname name!, nspowner oid!, nspacl _aclitem"),
    ("pg_opclass", 2616, "\
        oid oid!, opcmethod oid!, opcname name!, opcnamespace oid!, opcowner oid!, \
        opcfamily oid!, opcintype oid!, opcdefault bool!, opckeytype oid!"),
    ("pg_operator", 2617, "\
        oid oid!, oprname name!, oprnamespace oid!, oprowner oid!, oprkind char!, \
        oprcanmerge bool!, oprcanhash bool!, oprleft oid!, oprright oid!, oprresult oid!, \
        oprcom oid!, oprnegate oid!, oprcode regproc!, oprrest regproc!, oprjoin regproc!"),
    ("pg_partitioned_table", 3350, "\
        partrelid oid!, partstrat char!, partnatts int2!, partdefid oid!, \
        partattrs int2vector!, partclass oidvector!, partcollation oidvector!, \
        partexprs pg_node_tree"),
    ("pg_policy", 3256, "\
        oid oid!, polname name!, polrelid oid!, polcmd char!, polpermissive bool!, \
        polroles _oid!, polqual pg_node_tree, polwithcheck pg_node_tree"),
    ("pg_proc", 1255, "\
        oid oid!, proname name!, pronamespace oid!, proowner oid!, prolang oid!, \
        procost float4!, prorows float4!, provariadic oid!, prosupport regproc!, prokind char!, \
        prosecdef bool!, proleakproof bool!, proisstrict bool!, proretset bool!, \
        provolatile char!, proparallel char!, pronargs int2!, pronargdefaults int2!, \
        prorettype oid!, proargtypes oidvector!, proallargtypes _oid, proargmodes _char, \
        proargnames _text, proargdefaults pg_node_tree, protrftypes _oid, prosrc text!, \
        probin text, prosqlbody pg_node_tree, proconfig _text, proacl _aclitem"),
    ("pg_publication", 6104, "\
        oid oid!, pubname name!, pubowner oid!, puballtables bool!, pubinsert bool!, \
        pubupdate bool!, pubdelete bool!, pubtruncate bool!, pubviaroot bool!"),
    ("pg_publication_namespace", 6237, "\
        oid oid!, pnpubid oid!, pnnspid oid!"),
    ("pg_publication_rel", 6106, "\
        oid oid!, prpubid oid!, prrelid oid!, prqual pg_node_tree, prattrs int2vector"),
    ("pg_range", 3541, "\
        rngtypid oid!, rngsubtype oid!, rngmultitypid oid!, rngcollation oid!, rngsubopc oid!, \
        rngcanonical regproc!, rngsubdiff regproc!"),
    ("pg_rewrite", 2618, "\
        oid oid!, rulename name!, ev_class oid!, ev_type char!, ev_enabled char!, \
        is_instead bool!, ev_qual pg_node_tree!, ev_action pg_node_tree!"),
    ("pg_roles", 12000, "\
        rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, \
        rolcanlogin bool, rolreplication bool, rolconnlimit int4, rolpassword text, \
        rolvaliduntil timestamptz, rolbypassrls bool, rolconfig _text, oid oid"),
    ("pg_seclabel", 3596, "\
        objoid oid!, classoid oid!, objsubid int4!, provider text!, label text!"),
    ("pg_sequence", 2224, "\
        seqrelid oid!, seqtypid oid!, seqstart int8!, seqincrement int8!, seqmax int8!, \
        seqmin int8!, seqcache int8!, seqcycle bool!"),
    ("pg_sequences", 12048, "\
        schemaname name, sequencename name, sequenceowner name, data_type regtype, \
        start_value int8, min_value int8, max_value int8, increment_by int8, cycle bool, \
        cache_size int8, last_value int8"),
    ("pg_settings", 12104, "\
        name text, setting text, unit text, category text, short_desc text, extra_desc text, \
        context text, vartype text, source text, min_val text, max_val text, enumvals _text, \
        boot_val text, reset_val text, sourcefile text, sourceline int4, pending_restart bool"),
    ("pg_shdescription", 2396, "\
        objoid oid!, classoid oid!, description text!"),
    ("pg_stat_activity", 12222, "\
        datid oid, datname name, pid int4, leader_pid int4, usesysid oid, usename name, \
        application_name text, client_addr text, client_hostname text, client_port int4, \
        backend_start timestamptz, xact_start timestamptz, query_start timestamptz, \
        state_change timestamptz, wait_event_type text, wait_event text, state text, \
        backend_xid xid, backend_xmin xid, query_id int8, query text, backend_type text"),
    ("pg_statistic_ext", 3381, "\
        oid oid!, stxrelid oid!, stxname name!, stxnamespace oid!, stxowner oid!, \
        stxstattarget int4!, stxkeys int2vector!, stxkind _char!, stxexprs pg_node_tree"),
    ("pg_tables", 12033, "\
        schemaname name, tablename name, tableowner name, tablespace name, hasindexes bool, \
        hasrules bool, hastriggers bool, rowsecurity bool"),
    ("pg_tablespace", 1213, "\
        oid oid!, spcname name!, spcowner oid!, spcacl _aclitem, spcoptions _text"),
    ("pg_timezone_names", 12126, "\
        name text, abbrev text, utc_offset interval, is_dst bool"),
    ("pg_trigger", 2620, "\
        oid oid!, tgrelid oid!, tgparentid oid!, tgname name!, tgfoid oid!, tgtype int2!, \
        tgenabled char!, tgisinternal bool!, tgconstrrelid oid!, tgconstrindid oid!, \
        tgconstraint oid!, tgdeferrable bool!, tginitdeferred bool!, tgnargs int2!, \
        tgattr int2vector!, tgargs bytea!, tgqual pg_node_tree, tgoldtable name, \
        tgnewtable name"),
    ("pg_type", 1247, "\
        oid oid!, typname name!, typnamespace oid!, typowner oid!, typlen int2!, \
        typbyval bool!, typtype char!, typcategory char!, typispreferred bool!, \
        typisdefined bool!, typdelim char!, typrelid oid!, typsubscript regproc!, typelem oid!, \
        typarray oid!, typinput regproc!, typoutput regproc!, typreceive regproc!, \
        typsend regproc!, typmodin regproc!, typmodout regproc!, typanalyze regproc!, \
        typalign char!, typstorage char!, typnotnull bool!, typbasetype oid!, typtypmod int4!, \
        typndims int4!, typcollation oid!, typdefaultbin pg_node_tree, typdefault text, \
        typacl _aclitem"),
    ("pg_user", 12014, "\
        usename name, usesysid oid, usecreatedb bool, usesuper bool, userepl bool, \
        usebypassrls bool, passwd text, valuntil timestamptz, useconfig _text"),
    ("pg_views", 12028, "\
        schemaname name, viewname name, viewowner name, definition text"),
];

/// Schema `information_schema`; its oids are those after the catalog's.
#[rustfmt::skip]
pub(super) const INFORMATION_SCHEMA: &[Definition] = &[
    ("check_constraints", 13000, "\
        constraint_catalog name, constraint_schema name, constraint_name name, \
        check_clause varchar"),
    ("columns", 13001, "\
        table_catalog name, table_schema name, table_name name, column_name name, \
        ordinal_position int4, column_default varchar, is_nullable varchar, data_type varchar, \
        character_maximum_length int4, character_octet_length int4, numeric_precision int4, \
        numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, \
        interval_type varchar, interval_precision int4, character_set_catalog name, \
        character_set_schema name, character_set_name name, collation_catalog name, \
        collation_schema name, collation_name name, domain_catalog name, domain_schema name, \
        domain_name name, udt_catalog name, udt_schema name, udt_name name, scope_catalog name, \
        scope_schema name, scope_name name, maximum_cardinality int4, dtd_identifier name, \
        is_self_referencing varchar, is_identity varchar, identity_generation varchar, \
        identity_start varchar, identity_increment varchar, identity_maximum varchar, \
        identity_minimum varchar, identity_cycle varchar, is_generated varchar, \
        generation_expression varchar, is_updatable varchar"),
    ("constraint_column_usage", 13002, "\
        table_catalog name, table_schema name, table_name name, column_name name, \
        constraint_catalog name, constraint_schema name, constraint_name name"),
    ("key_column_usage", 13003, "\
        constraint_catalog name, constraint_schema name, constraint_name name, \
        table_catalog name, table_schema name, table_name name, column_name name, \
        ordinal_position int4, position_in_unique_constraint int4"),
    ("referential_constraints", 13004, "\
        constraint_catalog name, constraint_schema name, constraint_name name, \
        unique_constraint_catalog name, unique_constraint_schema name, \
        unique_constraint_name name, match_option varchar, update_rule varchar, \
        delete_rule varchar"),
    ("schemata", 13005, "\
        catalog_name name, schema_name name, schema_owner name, \
        default_character_set_catalog name, default_character_set_schema name, \
        default_character_set_name name, sql_path varchar"),
    ("sequences", 13006, "\
        sequence_catalog name, sequence_schema name, sequence_name name, data_type varchar, \
        numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, \
        start_value varchar, minimum_value varchar, maximum_value varchar, increment varchar, \
        cycle_option varchar"),
    ("table_constraints", 13007, "\
        constraint_catalog name, constraint_schema name, constraint_name name, \
        table_catalog name, table_schema name, table_name name, constraint_type varchar, \
        is_deferrable varchar, initially_deferred varchar, enforced varchar, \
        nulls_distinct varchar"),
    ("tables", 13008, "\
        table_catalog name, table_schema name, table_name name, table_type varchar, \
        self_referencing_column_name name, reference_generation varchar, \
        user_defined_type_catalog name, user_defined_type_schema name, \
        user_defined_type_name name, is_insertable_into varchar, is_typed varchar, \
        commit_action varchar"),
    ("views", 13009, "\
        table_catalog name, table_schema name, table_name name, view_definition varchar, \
        check_option varchar, is_updatable varchar, is_insertable_into varchar, \
        is_trigger_updatable varchar, is_trigger_deletable varchar, \
        is_trigger_insertable_into varchar"),
];
