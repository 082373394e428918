package playground

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func made(context.Context) ([]byte, error) { return []byte("<!DOCTYPE html>"), nil }

func TestTheCommandWritesThePage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "playground.html")
	var stdout, stderr bytes.Buffer
	require.Zero(t, command(t.Context(), made, []string{"-out", file}, &stdout, &stderr), stderr.String())
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "<!DOCTYPE html>", string(content))
	require.Contains(t, stdout.String(), "0.00 MB")
}

func TestTheCommandServesThePageUntilItIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	read, write := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- command(ctx, made, []string{"-listen", "localhost:0"}, write, io.Discard)
		_ = write.Close()
	}()
	text := make([]byte, 1000)
	url := ""
	for !strings.Contains(url, "http://") {
		n, err := read.Read(text)
		require.NoError(t, err)
		url, _, _ = strings.Cut(string(text[:n]), " ")
	}
	response, err := http.Get(url)
	require.NoError(t, err)
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "<!DOCTYPE html>", string(content))
	interrupt()
	require.Zero(t, <-ended)
	http.DefaultClient.CloseIdleConnections()
}

func TestTheServerHasOnePage(t *testing.T) {
	for target, want := range map[string]int{"/": 200, "/favicon.ico": 404, "/playground.html": 404, "/../main.go": 404} {
		w := httptest.NewRecorder()
		handler([]byte("x")).ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		if w.Code == http.StatusMovedPermanently || w.Code == http.StatusTemporaryRedirect {
			w.Code = 404
		}
		require.Equal(t, want, w.Code, target)
	}
	w := httptest.NewRecorder()
	handler([]byte("x")).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

func TestTheCommandSaysWhatIsWrong(t *testing.T) {
	broken := func(context.Context) ([]byte, error) { return nil, errors.New("no toolchain") }
	for _, c := range []struct {
		args []string
		page func(context.Context) ([]byte, error)
		code int
		want string
	}{
		{[]string{"-out", filepath.Join(t.TempDir(), "x")}, broken, 1, "no toolchain"},
		{[]string{"-out", filepath.Join(t.TempDir(), "no", "such", "directory")}, made, 1, "no such file"},
		{[]string{"-listen", "nowhere:x"}, made, 1, "-listen chooses another address"},
		{[]string{"more"}, made, 2, `unexpected argument "more"`},
		{[]string{"-x"}, made, 2, "not defined"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, c.code, command(t.Context(), c.page, c.args, io.Discard, &stderr), c.args)
		require.Contains(t, stderr.String(), c.want)
	}
}

func TestABuildThatIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "page")
	var stderr bytes.Buffer
	require.Equal(t, 130, command(ctx, func(context.Context) ([]byte, error) {
		interrupt()
		return nil, errors.New("go build: signal: killed")
	}, []string{"-out", file}, io.Discard, &stderr))
	require.Equal(t, "lab playground: interrupted: nothing was written\n", stderr.String())
	require.NoFileExists(t, file)
}

func TestWithoutAToolchain(t *testing.T) {
	t.Setenv("PATH", "")
	_, err := Page(t.Context())
	require.ErrorContains(t, err, "the go command is not in the PATH")
}

func TestEncode85(t *testing.T) {
	digits := strings.Split(alphabet, "")
	require.Len(t, digits, 85)
	require.NotContains(t, alphabet, "<")
	decode := func(text string) (data []byte) {
		for ; text != ""; text = text[5:] {
			v := uint32(0)
			for _, c := range text[:5] {
				v = v*85 + uint32(strings.IndexRune(alphabet, c))
			}
			data = append(data, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
		return data
	}
	r := rand.NewChaCha8([32]byte{})
	for n := range 50 {
		data := make([]byte, n)
		_, _ = r.Read(data)
		require.Equal(t, data, append([]byte{}, decode(encode85(data))[:n]...))
	}
	require.Equal(t, []byte{255, 255, 255, 255, 0, 0, 0, 0}, decode(encode85([]byte{255, 255, 255, 255, 0, 0, 0, 0})))
}
