-- cluster_faults_spec.lua -- three servers on one Redis that is killed, frozen and cut off: what
-- they broadcast in a room without a memory arrives once and in order, and what did not is counted.

local chunks = require "support.chunks"
local cluster = require "support.cluster"
local loop = require "support.loop"
local stream = require "support.stream"

local APP = [[
local chunks = require "chunks"
local tw = require "tidewire"
return {
  on_start = function(conn) conn:join("room") end,
  handle_message = function(conn, code)
    conn:send(chunks.run(code, { conn = conn, tw = tw }))
  end,
  ping_period = 0,
}
]]

local missing = cluster.missing()
if missing then
  return it("a cluster", function() pending(missing) end)
end

describe("a cluster in a fault", function()
  local group, peers

  before_each(function()
    group = cluster.start({ app = APP, count = 3, workers = 1 })
    peers = {}
    for i = 1, 3 do
      peers[i] = group[i]:connect("/")
      assert.equal("ready", chunks.ask(peers[i], "return 'ready'"))
    end
  end)

  after_each(function()
    stream.close_all()
    group:stop()
  end)

  -- Broadcasts these numbers from a server. The answer comes behind what its client has got.
  local function broadcast(from, first, last)
    peers[from]:send_text(([[
      for i = %d, %d do tw.room("room"):broadcast("%d:" .. i, { except = conn }) end
      return "done"]]):format(first, last, from))
  end

  -- The numbers that a client has got of a sender, up to this one.
  local function receive(to, from, last)
    local got = {}
    repeat
      local text, why = peers[to]:receive()
      assert(text, ("client %d: %s from server %d: %s"):format(to, got[#got], from, why))
      local sender, number = text:match("^(%d):(%d+)$")
      if sender == tostring(from) then got[#got + 1] = tonumber(number) end
    until got[#got] == last
    return got
  end

  local function check_all(to, from, first, last)
    local expected = {}
    for i = first, last do expected[#expected + 1] = i end
    assert.same(expected, receive(to, from, last))
  end

  -- Waits until a server has seen so many outages.
  local function wait_for_outage(count)
    for i = 1, 3 do
      assert.is_truthy(cluster.wait_for_log(group[i], "event=cluster_down", count))
    end
  end

  it("loses nothing when Redis is killed and comes back", function()
    broadcast(1, 1, 50)
    check_all(2, 1, 1, 50)
    check_all(3, 1, 1, 50)
    group.redis:kill()
    broadcast(1, 51, 100)
    group.redis:start()
    broadcast(1, 101, 150)
    check_all(2, 1, 51, 150)
    check_all(3, 1, 51, 150)
  end)

  it("loses nothing when Redis is frozen", function()
    group.redis:pause()
    broadcast(1, 1, 50)
    broadcast(2, 1, 50)
    wait_for_outage(1)
    broadcast(1, 51, 60)
    group.redis:continue()
    check_all(3, 1, 1, 60)
    check_all(1, 2, 1, 50)
  end)

  -- How many messages a server has counted as lost.
  local function lost_by(to)
    local sum = 0
    for _, line in ipairs(group[to]:log_lines("event=cluster_lost")) do
      sum = sum + (line:match("messages=(%d+)") or 0)
    end
    return sum
  end

  for _, kind in ipairs { "pubsub", "normal" } do
    it("counts what it has lost when connections are cut: " .. kind, function()
      local sent, killed_at, got = 0, nil, { {}, {}, {} }
      local function collect(to)
        for text in function() return (peers[to]:step()) end do
          local number = text:match("^1:(%d+)$")
          if number then table.insert(got[to], tonumber(number)) end
        end
        return got[to][#got[to]] or 0
      end
      -- Broadcasts go on meanwhile, until all clients get them again.
      assert.is_truthy(loop.wait_until(function()
        sent = sent + 1
        broadcast(1, sent, sent)
        if not killed_at and collect(2) > 5 and collect(3) > 5 then
          killed_at = sent
          group.redis:command("CLIENT", "KILL", "TYPE", kind)
          wait_for_outage(1)
          sent = sent + 1
          broadcast(1, sent, sent)
        end
        return killed_at and collect(2) > killed_at + 5 and collect(3) > killed_at + 5
      end))
      for to = 2, 3 do
        assert.is_truthy(loop.wait_until(function() return collect(to) == sent end))
        for i = 2, #got[to] do
          assert.is_true(got[to][i] > got[to][i - 1], "not in order: " .. got[to][i])
        end
        assert.equal(sent, loop.ask_until(function() return #got[to] + lost_by(to) end, sent))
      end
    end)
  end
end)
