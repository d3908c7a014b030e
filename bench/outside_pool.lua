-- outside_pool.lua -- what the threads of the pool of outside_app.lua do: nothing, or wait in
-- PostgreSQL.

return {
  nothing = function() return true end,

  sleep = function()
    local connection = assert(require("luasql.postgres").postgres():connect(
      os.getenv "DATABASE_URL"))
    connection:execute "SELECT pg_sleep(600)"
    connection:close()
  end,
}
