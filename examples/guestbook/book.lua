-- book.lua -- the messages in SQLite. It runs in the threads of the app's pool, where it may wait
-- for the disk: each thread loads it once, and has its own connection to the file.
--
-- LuaSQL has no parameters for statements, so every text goes through `quoted`, and every number
-- through %d.

local luasql = require "luasql.sqlite3"

local FILE = os.getenv("GUESTBOOK_FILE") or "guestbook.db"
local BUSY_MS = 5000 -- how long a statement waits while another thread or program writes

local database = assert(luasql.sqlite3():connect(FILE, BUSY_MS))

-- Runs a statement. Returns its rows, each by the names of its columns; or nil and what SQLite
-- says.
local function run(statement, ...)
  local cursor, problem = database:execute(statement:format(...))
  if not cursor then return nil, problem end
  local rows = {}
  if type(cursor) == "number" then return rows end -- no rows, but a count of them
  for row in function() return cursor:fetch({}, "a") end do rows[#rows + 1] = row end
  return rows -- the last fetch has closed the cursor
end

-- A text as SQL has it: it cannot end the literal that it stands in.
local function quoted(text)
  assert(not text:find("\0", 1, true), "a text with a zero byte") -- escape would end there
  return "'" .. database:escape(text) .. "'"
end

assert(run("PRAGMA journal_mode = WAL")) -- readers do not wait for a writer
assert(run([[CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, text TEXT NOT NULL,
  time INTEGER NOT NULL)]]))

local book = {}

---@class guestbook.message
---@field id integer in the order of writing
---@field name string
---@field text string
---@field time integer seconds since 1970

--- Keeps a message. When it returns the disk has it.
---@param name string
---@param text string
---@param time integer
---@return guestbook.message|nil, string|nil problem
function book.add(name, text, time)
  -- without RETURNING: LuaSQL runs a statement that gives rows twice
  local done, problem = run("INSERT INTO messages (name, text, time) VALUES (%s, %s, %d)",
    quoted(name), quoted(text), time)
  if not done then return nil, problem end
  return { id = math.tointeger(database:getlastautoid()), name = name, text = text, time = time }
end

--- Messages, newest first.
---@param before integer|nil  only those with a lower id
---@param count integer  at most so many
---@return guestbook.message[]|nil, string|nil problem
function book.page(before, count)
  return run("SELECT * FROM messages WHERE id < %d ORDER BY id DESC LIMIT %d",
    before or math.maxinteger, count)
end

return book
