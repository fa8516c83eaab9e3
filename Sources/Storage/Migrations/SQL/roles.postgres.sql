-- The two roles that the server signs in as. Run by whoever migrates, who needs CREATEROLE and no more, as one script
-- before the first migration and again before every later one. Passwords are no business of a script.
--
-- Roles belong to the cluster, not to the database: other databases may be migrated at this moment, so whatever
-- somebody else has just done is waited for and looked at again, not taken for an error.

DO $roles$
DECLARE
    wanted name;
    try integer;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['sba_app', 'sba_system'] LOOP
        try := 1;
        LOOP
            BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                    -- What is not said is not given. Some hosts refuse NOSUPERUSER to anybody but a superuser.
                    EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', wanted);
                END IF;
                -- pg_temp is named, and last: unnamed it would come first, and a temporary table would hide a real one
                -- from everybody who is given the same pooled connection later.
                IF NOT EXISTS (
                    SELECT FROM pg_db_role_setting
                    WHERE setrole = wanted::regrole AND setdatabase = 0 AND 'search_path=sba, pg_temp' = ANY (setconfig)
                ) THEN
                    EXECUTE format('ALTER ROLE %I SET search_path = sba, pg_temp', wanted);
                END IF;
                -- By name, so that the server still gets in where somebody takes CONNECT from PUBLIC.
                IF NOT EXISTS (
                    SELECT FROM pg_database, aclexplode(datacl) AS entry
                    WHERE datname = current_database() AND entry.grantee = wanted::regrole
                        AND entry.privilege_type = 'CONNECT'
                ) THEN
                    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), wanted);
                END IF;
                EXIT;
            EXCEPTION
                -- The last one is "tuple concurrently updated", which has no code of its own.
                WHEN duplicate_object OR unique_violation OR internal_error THEN
                    IF try = 20 THEN RAISE; END IF;
                    try := try + 1;
                    PERFORM pg_sleep(0.05);
            END;
        END LOOP;
    END LOOP;
END
$roles$;
