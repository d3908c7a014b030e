-- waiting_outside_spec.lua -- twenty connections of one worker that wait in Redis, in PostgreSQL
-- and in a slow WebSocket server, while another connection of it has its messages echoed; and what
-- they get when these servers answer, or are killed.

local loop = require "support.loop"
local postgres = require "support.postgres"
local redis_server = require "support.redis"
local reloads = require "support.reloads"
local server = require "support.server"

local function missing()
  if not package.searchpath("luasql.postgres", package.cpath) then
    return "lua-sql-postgres is not installed"
  end
  if not package.searchpath("redis", "/usr/share/lua/5.3/?.lua") then
    return "lua-redis is not installed"
  end
  return postgres.missing() or redis_server.missing()
end

if missing() then
  describe("waiting in other servers", function()
    pending(missing() .. ": nothing of this is tried here")
  end)
  return
end

-- Each message to /redis, /database or /websocket waits for one answer of that server.
local APP = [[
package.path = package.path .. ";/usr/share/lua/5.3/?.lua"
local here = require "here"
local redis = require "redis"
local tw = require "tidewire"
local database = tw.pool("database", { threads = 7, timeout = 3600 })

local function endpoint(ask)
  return {
    validate = here.validate,
    handle_message = function(conn, message)
      local answer, problem = ask(message)
      conn:send(answer or "no answer: " .. tostring(problem))
    end,
  }
end

return {
  endpoints = {
    ["/echo"] = endpoint(function(message) return message end),
    ["/redis"] = endpoint(function(list)
      local done, result = pcall(function()
        local client = redis.connect({ host = "127.0.0.1", port = os.getenv("REDIS_PORT") })
        local answer = client:blpop(list, 0)[2]
        client:quit()
        return answer
      end)
      if done then return result end
      return nil, result
    end),
    ["/database"] = endpoint(function() return database:call("sleep") end),
    ["/websocket"] = endpoint(function()
      local client, problem = tw.connect(os.getenv("UPSTREAM"))
      if not client then return nil, problem end
      local message, why = client:receive()
      client:close()
      return message, why
    end),
  },
}
]]

local DATABASE = [[
local luasql = require "luasql.postgres"
local connection
return {
  sleep = function()
    local cursor, problem
    if not connection then
      connection, problem = luasql.postgres():connect(os.getenv("DATABASE_URL"))
      if not connection then return nil, problem end
    end
    cursor, problem = connection:execute("SELECT 'slept' FROM pg_sleep(600)")
    if cursor then return cursor:fetch() end
    if problem:find("closed the connection") then connection = nil end
    return nil, problem
  end,
}
]]

local UPSTREAM = [[
local record, tw = require "record", require "tidewire"
return {
  on_start = function(conn)
    if conn.path ~= "/slow" then return end
    record("opened")
    conn:join("waiting")
  end,
  handle_message = function(_, message) tw.room("waiting"):broadcast(message) end,
}
]]

local IN_REDIS, IN_DATABASE, IN_WEBSOCKET = 7, 7, 6

describe("waiting in other servers", function()
  local redis, database, upstream, app, peers

  before_each(function()
    redis, database = redis_server.start(), postgres.start()
    -- its clients, the app's, have no authority for a test's certificate
    upstream = server.start({ app = UPSTREAM, environment = { TIDEWIRE_TLS_CERTIFICATE = "" } })
    app = server.start({
      app = APP, files = { ["database.lua"] = DATABASE },
      environment = {
        REDIS_PORT = tostring(redis.port), DATABASE_URL = database.url,
        UPSTREAM = upstream:url("/slow"),
      },
    })
    peers = { redis = {}, database = {}, websocket = {} }
  end)
  after_each(function()
    app:stop()
    upstream:stop()
    database:stop()
    redis:stop()
  end)

  local function count_waiting()
    return tonumber(redis:command("INFO", "clients"):match("blocked_clients:(%d+)")),
      tonumber(database:query(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")),
      #upstream:events("opened")
  end

  local function all_wait(opened)
    local in_redis, in_database, in_websocket = count_waiting()
    return in_redis == IN_REDIS and in_database == IN_DATABASE
      and in_websocket == (opened or IN_WEBSOCKET)
  end

  -- Twenty clients of worker 0 that wait.
  local function let_wait()
    for place, count in pairs({
      redis = IN_REDIS, database = IN_DATABASE, websocket = IN_WEBSOCKET,
    }) do
      for number = 1, count do
        local peer = app:connect_on(0, "/" .. place)
        peer:send_text("list")
        peers[place][number] = peer
      end
    end
    assert.is_truthy(loop.wait_until(all_wait))
  end

  local function assert_answers(place, pattern)
    for _, peer in ipairs(peers[place]) do
      local answer = assert(peer:receive())
      assert.is_truthy(answer:find(pattern), answer)
    end
  end

  -- All servers answer.
  local function release()
    for number = 1, IN_REDIS do redis:command("RPUSH", "list", "job " .. number) end
    assert_answers("redis", "^job %d$")
    database:query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
      .. "WHERE wait_event = 'PgSleep'")
    assert_answers("database", "^no answer: .*canceling statement due to user request")
    upstream:connect("/"):send_text("news")
    assert_answers("websocket", "^news$")
  end

  it("delays no other connection, and ends with each answer", function()
    let_wait()
    local ada = app:connect_on(0, "/echo")
    for number = 1, 1000 do
      assert.equal("message " .. number, (ada:ask("message " .. number)))
    end
    assert.is_true(all_wait())
    for _, list in pairs(peers) do
      for _, peer in ipairs(list) do assert.is_nil((peer:step())) end
    end
    release()
  end)

  it("goes on through reloads", function()
    let_wait()
    for _ = 1, 5 do reloads.good(app, {}) end
    assert.is_true(all_wait())
    release()
    for _, place in ipairs({ "redis", "database", "websocket" }) do -- in the new code
      for _, peer in ipairs(peers[place]) do peer:send_text("list") end
    end
    assert.is_truthy(loop.wait_until(function() return all_wait(2 * IN_WEBSOCKET) end))
    release()
  end)

  it("ends with the cause when the servers are killed, and may begin again", function()
    let_wait()
    redis:kill()
    assert_answers("redis", "^no answer: .*closed")
    database:kill()
    assert_answers("database", "^no answer: .*server closed the connection")
    assert.equal("hello", (app:connect_on(0, "/echo"):ask("hello")))
    assert.is_truthy(peers.redis[1]:ask("list"):find("^no answer: .*refused"))
    assert.is_truthy(peers.database[1]:ask(""):find("^no answer: .*[Cc]onnection refused"))
    redis:start()
    database:start()
    for _, place in ipairs({ "redis", "database" }) do
      for _, peer in ipairs(peers[place]) do peer:send_text("list") end
    end
    assert.is_truthy(loop.wait_until(all_wait))
    release()
  end)
end)
