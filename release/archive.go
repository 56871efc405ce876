package release

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// packed is one file of an archive or a layer.
type packed struct {
	name string
	mode fs.FileMode // permissions
	data []byte
}

// writeTar writes files, with the folders above them, in the order given, owned by root, at one time.
func writeTar(out io.Writer, files []packed, at time.Time) error {
	writer := tar.NewWriter(out)
	seen := map[string]bool{".": true}
	var folders func(dir string) error
	folders = func(dir string) error {
		if seen[dir] {
			return nil
		}
		seen[dir] = true
		if err := folders(path.Dir(dir)); err != nil {
			return err
		}
		return writer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: at, Format: tar.FormatUSTAR})
	}
	for _, file := range files {
		if err := folders(path.Dir(file.name)); err != nil {
			return fmt.Errorf("pack %s: %w", file.name, err)
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: file.name, Mode: int64(file.mode.Perm()), Size: int64(len(file.data)), ModTime: at,
			Format: tar.FormatUSTAR,
		}
		if err := writer.WriteHeader(header); err != nil {
			return fmt.Errorf("pack %s: %w", file.name, err)
		}
		if _, err := writer.Write(file.data); err != nil {
			return fmt.Errorf("pack %s: %w", file.name, err)
		}
	}
	return writer.Close()
}

// tarGz is files as a compressed tar archive; the gzip header holds no time and no name.
func tarGz(files []packed, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	compressed, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if err := writeTar(compressed, files, at); err != nil {
		return nil, err
	}
	if err := compressed.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// zipped is files as a zip archive.
func zipped(files []packed, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	writer := zip.NewWriter(&out)
	for _, file := range files {
		header := &zip.FileHeader{Name: file.name, Method: zip.Deflate, Modified: at.UTC()}
		header.SetMode(file.mode.Perm())
		entry, err := writer.CreateHeader(header)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", file.name, err)
		}
		if _, err := entry.Write(file.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", file.name, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// pack chooses the format by the archive's name.
func pack(name string, files []packed, at time.Time) ([]byte, error) {
	if strings.HasSuffix(name, ".zip") {
		return zipped(files, at)
	}
	return tarGz(files, at)
}

// unpackAll returns the files of an archive that pack made, without the folders.
func unpackAll(name string, data []byte) ([]packed, error) {
	if strings.HasSuffix(name, ".zip") {
		return unzip(data)
	}
	plain, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	files, err := untar(plain)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return files, nil
}

func untar(in io.Reader) ([]packed, error) {
	var files []packed
	for reader := tar.NewReader(in); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		data, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		files = append(files, packed{header.Name, header.FileInfo().Mode(), data})
	}
}

func unzip(data []byte) ([]packed, error) {
	reader, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var files []packed
	for _, entry := range reader.File {
		opened, err := entry.Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(opened)
		if err := errors.Join(err, opened.Close()); err != nil {
			return nil, err
		}
		files = append(files, packed{entry.Name, entry.Mode(), content})
	}
	return files, nil
}
