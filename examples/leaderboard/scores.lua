-- scores.lua -- every player's best score in PostgreSQL. It runs in the threads of the app's pool,
-- where it may wait for the database: each thread loads it once, and has its own connection.
--
-- A connection that was lost is made anew by the next call. LuaSQL has no parameters for
-- statements, so every text goes through `quoted`, and every number through %d.

local luasql = require "luasql.postgres"

local URL = os.getenv("DATABASE_URL") or "postgresql://localhost"

local environment = luasql.postgres()
local connection

-- CREATE TABLE IF NOT EXISTS fails where two connections do it at the same moment: hence the lock.
local TABLE = [[
DO $$ BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('leaderboard'));
  CREATE TABLE IF NOT EXISTS scores (
    player text PRIMARY KEY, points bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
  CREATE INDEX IF NOT EXISTS scores_points ON scores (points DESC, player);
END $$]]

local function connect()
  connection = assert(environment:connect(URL))
  assert(connection:execute(TABLE))
end

local function disconnect()
  connection:close()
  connection = nil
end

-- Does the connection answer? If it does, a failure was the statement's.
local function is_alive()
  local cursor = connection:execute("SELECT 1")
  if cursor then cursor:close() end
  return cursor ~= nil
end

-- Runs a statement. Returns its rows; throws what PostgreSQL says. Where the connection was lost,
-- the statement runs again on a new one: perhaps for the second time, so it must be one that may.
local function run(statement)
  if not connection then connect() end
  local cursor, problem = connection:execute(statement)
  if not cursor and not is_alive() then
    disconnect()
    connect()
    cursor, problem = connection:execute(statement)
  end
  assert(cursor, problem)
  local rows = {}
  for row in function() return cursor:fetch({}, "a") end do rows[#rows + 1] = row end
  return rows -- the last fetch has closed the cursor
end

-- A text as SQL has it: it cannot end the literal that it stands in.
local function quoted(text)
  assert(not text:find("\0", 1, true), "a text with a zero byte") -- escape would end there
  return "'" .. connection:escape(text) .. "'"
end

-- A function of the pool: what `body` throws, it returns behind nil.
local function returning(body)
  return function(...)
    local done, result = pcall(body, ...)
    if done then return result end
    return nil, result
  end
end

local scores = {}

--- Keeps a score if it is the player's best. May run twice.
---@type fun(player: string, points: integer): integer|nil, string|nil  the player's best score
scores.save = returning(function(player, points)
  if not connection then connect() end -- for `quoted`
  local rows = run(([[
    INSERT INTO scores (player, points) VALUES (%s, %d)
    ON CONFLICT (player) DO UPDATE SET points = greatest(scores.points, excluded.points),
      at = CASE WHEN excluded.points > scores.points THEN now() ELSE scores.at END
    RETURNING points]]):format(quoted(player), points))
  return math.tointeger(rows[1].points)
end)

---@class leaderboard.score
---@field player string
---@field points integer

--- The best scores, at most so many.
---@type fun(count: integer): leaderboard.score[]|nil, string|nil
scores.top = returning(function(count)
  local rows = run(("SELECT player, points FROM scores ORDER BY points DESC, player DESC LIMIT %d")
    :format(count))
  for _, row in ipairs(rows) do row.points = math.tointeger(row.points) end
  return rows
end)

return scores
