package devtest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/internal/devstack/devtest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var migrations atomic.Int32

func migrate(ctx context.Context, dsn string) error {
	migrations.Add(1)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "create table thing (id int primary key)")
	return err
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(testContext(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestDatabasesAreSeparateAndMigratedOnce(t *testing.T) {
	t.Parallel()
	t.Run("together", func(t *testing.T) {
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				conn := connect(t, devtest.Database(t, migrate))
				// The same key everywhere: only separate databases accept it.
				if _, err := conn.Exec(testContext(t), "insert into thing values (1)"); err != nil {
					t.Error(err)
				}
			})
		}
	})
	if got := migrations.Load(); got != 1 {
		t.Errorf("migrated %d times, want once", got)
	}
}

func TestDatabaseIsDroppedAtCleanup(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("user", func(t *testing.T) {
		conn := connect(t, devtest.Database(t, nil))
		if err := conn.QueryRow(testContext(t), "select current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
	})
	var exists bool
	conn := connect(t, devtest.Postgres(t))
	if err := conn.QueryRow(testContext(t), "select exists (select from pg_database where datname = $1)", name).Scan(&exists); err != nil {
		t.Fatal(err)
	}
	if exists {
		t.Errorf("database %s is still there", name)
	}
}

func send(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(testContext(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func TestPrefixRemovesWhatTheTestMade(t *testing.T) {
	t.Parallel()
	engine := devtest.Engine(t)
	bystander := devtest.Prefix(t)
	if status, answer := send(t, http.MethodPut, engine+"/08x."+bystander+".kept", ""); status != http.StatusOK {
		t.Fatal(answer)
	}
	var made []string
	t.Run("user", func(t *testing.T) {
		prefix := devtest.Prefix(t)
		if !regexp.MustCompile(`^[a-z][a-z0-9]{2,19}$`).MatchString(prefix) {
			t.Errorf("prefix %q is no tenant id", prefix)
		}
		for i := range 20 {
			made = append(made, fmt.Sprintf("/prod-08x.%s.tracardi-%d-%s", prefix, i, strings.Repeat("long", 40)))
		}
		for _, path := range made {
			if status, answer := send(t, http.MethodPut, engine+path, `{"settings":{"number_of_replicas":0}}`); status != http.StatusOK {
				t.Fatal(answer)
			}
		}
		for path, body := range map[string]string{
			"/_index_template/template." + prefix:                fmt.Sprintf(`{"index_patterns":["08x.%s.*"]}`, prefix),
			"/_template/legacy." + prefix:                        fmt.Sprintf(`{"index_patterns":["0820.%s.*"]}`, prefix),
			"/08x." + bystander + ".kept/_alias/alias." + prefix: "",
		} {
			made = append(made, path)
			if status, answer := send(t, http.MethodPut, engine+path, body); status != http.StatusOK {
				t.Fatal(answer)
			}
		}
	})
	for _, path := range made {
		if status, answer := send(t, http.MethodGet, engine+path, ""); status != http.StatusNotFound {
			t.Errorf("%s is still there: %d %s", path, status, answer)
		}
	}
	if status, _ := send(t, http.MethodGet, engine+"/08x."+bystander+".kept", ""); status != http.StatusOK {
		t.Error("the cleanup of one test removed another test's index")
	}
}
