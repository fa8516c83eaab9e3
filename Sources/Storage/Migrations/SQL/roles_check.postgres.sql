-- Run by whoever migrates, after the roles were made, by whom ever. It needs no privilege.
--
-- A role that was there before may be one that no policy holds. Tenants would be apart in name only, so refuse it.
DO $check$
DECLARE
    role record;
BEGIN
    FOR role IN
        SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolreplication FROM pg_roles
        WHERE rolname IN ('sba_app', 'sba_system')
    LOOP
        IF role.rolsuper OR role.rolbypassrls OR role.rolcreaterole OR role.rolreplication THEN
            RAISE EXCEPTION 'The role % is not bound by row level security', role.rolname
                USING HINT = format(
                    'ALTER ROLE %I NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION', role.rolname);
        END IF;
        IF role.rolname = current_user OR pg_has_role(role.rolname, current_user, 'MEMBER') THEN
            RAISE EXCEPTION 'The role % can become %, which owns the tables', role.rolname, current_user
                USING HINT = 'Migrate as another role, and let neither role of the server be its member.';
        END IF;
    END LOOP;
    IF pg_has_role('sba_app', 'sba_system', 'MEMBER') OR pg_has_role('sba_system', 'sba_app', 'MEMBER') THEN
        RAISE EXCEPTION 'The roles sba_app and sba_system must not be members of each other';
    END IF;
END
$check$;
