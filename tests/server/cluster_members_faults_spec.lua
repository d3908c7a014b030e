-- cluster_members_faults_spec.lua -- after each fault every machine knows the members of all
-- machines again, and watchers got no change that was none.
--
-- A machine is dead after the lease, here 1 s, so all waits are short.

local chunks = require "support.chunks"
local cluster = require "support.cluster"
local loop = require "support.loop"
local stream = require "support.stream"

local APP = [[
local chunks = require "chunks"
local here = require "here"
local tw = require "tidewire"

local events = {}
function seen()
  table.sort(events)
  return table.concat(events, " ")
end
tw.room("hall"):watch(function(event, member)
  events[#events + 1] = (event == "join" and "+" or "-") .. member.info
end)

function list()
  local names = {}
  for _, member in ipairs(tw.room("hall"):members()) do names[#names + 1] = member.info end
  table.sort(names)
  return tw.room("hall"):size() .. " " .. table.concat(names, " ")
end

return {
  cluster = { url = "redis://127.0.0.1:1", lease = 1 },
  defaults = {
    ping_period = 0,
    validate = function(request)
      local ok, status = here.validate(request)
      if not ok then return nil, status end
      return true
    end,
    on_start = function(conn)
      conn:join("hall", conn.query.name)
      conn:send("joined")
    end,
  },
  endpoints = { ["/"] = {} },
  http = { ["POST /run"] = here.route(function(request)
    return chunks.run(request.body, { tw = tw })
  end) },
}
]]

local missing = cluster.missing()
if missing then
  return it("members of a cluster after faults", function() pending(missing) end)
end

describe("after a fault", function()
  local group, peers

  before_each(function()
    peers = {} -- else they would be collected, and closed
    group = cluster.start({ app = APP, workers = 1, count = 2 })
  end)
  after_each(function()
    stream.close_all()
    group:stop()
  end)

  local function connect(one, name)
    local peer = one:connect("/?name=" .. name)
    assert.equal("joined", (peer:receive()))
    peers[#peers + 1] = peer
    return peer
  end

  local function ask(one, code) return chunks.ask_on(one, 0, code) end

  local function wait_for(one, code, expected)
    local got
    if not loop.wait_until(function()
      got = ask(one, code)
      return got == expected
    end, 13) then
      error(("%s: expected %q, got %q"):format(code, expected, got), 2)
    end
  end

  local function all_know(expected, from)
    for i = from or 1, #group do wait_for(group[i], "return list()", expected) end
  end

  local function both()
    local ada, bob = connect(group[1], "ada"), connect(group[2], "bob")
    all_know("2 ada bob")
    for i = 1, 2 do wait_for(group[i], "return seen()", "+ada +bob") end
    return ada, bob
  end

  local function no_more_was_seen(expected)
    for i = 1, 2 do assert.equal(expected or "+ada +bob", ask(group[i], "return seen()")) end
  end

  -- Waits until all machines have noticed this so often.
  local function wait_for_log(event, count)
    for i = 1, #group do cluster.wait_for_log(group[i], "event=" .. event, count) end
  end

  it("FLUSHALL: machines announce what Redis has lost", function()
    local _, bob = both()
    group.redis:command("FLUSHALL")
    bob:close() -- of which Redis knows nothing
    all_know("1 ada")
    local carl = connect(group[2], "carl")
    all_know("2 ada carl")
    wait_for(group[2], "return " .. [[tw.room("hall"):size()]], "2")
    carl:close()
    all_know("1 ada")
    no_more_was_seen("+ada +bob +carl -bob -carl")
  end)

  it("kill -9 of Redis: who came and went meanwhile is known afterwards", function()
    local ada = both()
    group.redis:kill()
    wait_for_log("cluster_down", 1)
    ada:close()
    connect(group[1], "dora")
    wait_for(group[1], "return list()", "2 bob dora")
    group.redis:start()
    all_know("2 bob dora")
    no_more_was_seen("+ada +bob +dora -ada")
  end)

  it("kill -9 of a machine: its connections leave", function()
    both()
    group[2]:kill()
    wait_for(group[1], "return list()", "1 ada")
    assert.equal("+ada +bob -bob", ask(group[1], "return seen()"))
    group[2] = nil
  end)

  it("a machine that was frozen for longer than its lease comes back by itself", function()
    both()
    group[2]:signal("sigstop")
    wait_for(group[1], "return list()", "1 ada")
    group[2]:signal("sigcont")
    all_know("2 ada bob")
    assert.equal("+ada +bob +bob -bob", ask(group[1], "return seen()"))
    assert.equal("+ada +bob", ask(group[2], "return seen()"))
  end)

  it("Redis that was frozen for longer than a lease: no machine is taken for dead", function()
    both()
    group.redis:pause()
    wait_for_log("cluster_down", 1)
    group.redis:continue()
    wait_for_log("cluster_up", 2)
    connect(group[1], "eve")
    all_know("3 ada bob eve")
    no_more_was_seen("+ada +bob +eve")
  end)

  it("the drain of a machine: its connections leave at once", function()
    both()
    group[2]:signal("sigterm")
    wait_for(group[1], "return list()", "1 ada")
    assert.equal("+ada +bob -bob", ask(group[1], "return seen()"))
  end)
end)
