-- cluster_acl_spec.lua -- the rights of docs/cluster.md suffice: machines that have no others do
-- all that a cluster can do, and Redis refuses nothing.

local cluster = require "support.cluster"
local loop = require "support.loop"
local process = require "support.process"
local redis_server = require "support.redis"
local session = require "support.session"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
local seen = tw.keep("seen")
tw.room("hall"):watch(function(event, member) seen[event] = (seen[event] or 0) + 1 end)
return {
  endpoints = { ["/"] = {
    ping_period = 0, resume = true,
    validate = function(request) return { who = request.query.name } end,
    user = "who",
    on_start = function(conn)
      conn:join("hall", { name = conn.who })
      conn:send(conn.id)
    end,
    handle_message = function(conn, text)
      if text == "members" then
        return conn:send(tostring(tw.room("hall"):size()))
      elseif text == "leave" then
        conn:leave("hall")
        return conn:send("left")
      elseif text == "count" then
        local counts = tw.shared("counts", { cluster = true })
        counts:set("text", "value", 60)
        return conn:send(tostring(counts:incr("n")) .. tostring(counts:get("text")))
      elseif text:find("^to ") then
        return conn:send(tostring(tw.send(text:match("^to (%S+)"), "direct")))
      end
      tw.room("hall"):broadcast(text, { key = "k" })
    end,
  } },
}
]]

local missing = cluster.missing()
if missing then
  return it("rights in Redis", function() pending(missing) end)
end

describe("a user of Redis with the rights of docs/cluster.md", function()
  local group

  setup(function()
    local rules = assert(process.read_file("docs/cluster.md")
      :match("\n    user tidewire (on >PASSWORD [^\n]+)\n"), "docs/cluster.md has no rules")
    local redis = redis_server.start()
    local words = {}
    for word in rules:gmatch("%S+") do words[#words + 1] = word end
    assert.equal("OK", redis:command("ACL", "SETUSER", "tidewire", table.unpack(words)))
    group = cluster.start({
      app = APP, redis_started = redis,
      environment = { TIDEWIRE_CLUSTER = redis.url:gsub("//", "//tidewire:PASSWORD@") },
    })
  end)
  teardown(function() group:stop() end)
  after_each(stream.close_all)

  it("suffices", function()
    local ada, bob = group[1]:connect("/?name=ada"), group[2]:connect("/?name=bob")
    local id = ada:receive()
    bob:receive()
    assert.equal("2", loop.ask_until(function() return (ada:ask("members")) end, "2"))
    bob:send_text("hello")
    assert.equal("hello", (ada:receive()))
    assert.equal("hello", (bob:receive()))
    assert.equal("true", (bob:ask("to " .. id)))
    assert.equal("direct", (ada:receive()))
    assert.equal("1value", (ada:ask("count")))
    assert.equal("2value", (bob:ask("count")))
    assert.equal("left", (ada:ask("leave")))
    assert.equal("1", loop.ask_until(function() return (bob:ask("members")) end, "1"))
    local eve = session.start(group[1]:url("/?name=eve"))
    eve:receive()
    eve.socket:abort()
    eve.url = group[2]:url("/?name=eve")
    assert.is_true(eve:connect().resumed)
    assert.equal("", group.redis:command("ACL", "LOG"))
    assert.same({}, group[1]:log_lines("event=cluster_down"))
  end)
end)
